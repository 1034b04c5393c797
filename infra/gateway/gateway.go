// Package gateway owns the entry: the Gateway, the routes, and how requests are
// split between the slots of the service.
//
// Both slots are always named in the route, whatever their weights, so that a
// release and its return are each one change of numbers.
package gateway

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apiextensions"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/pod"
)

const (
	gatewayAPI = "gateway.networking.k8s.io/v1"
	component  = "gateway"
	// Name of the Gateway.
	Name = "coditect"
	// Route is the name of the API's route; rollouts change its weights.
	Route = "coditect-api-v5"
)

// Backend is one slot's Service and its share of requests.
type Backend struct {
	// Slot names the backend's policies.
	Slot    string
	Service pulumi.StringInput
	Port    int
	Weight  int
	// Pods must be ready before the backend is given requests.
	Pods []pulumi.Resource
}

// Page is a part of the site that the API's routes leave over. The longest prefix wins.
type Page struct {
	Name    string
	Prefix  string
	Service pulumi.StringInput
	Port    int
	// ListenPort and HealthPath are what the load balancer asks the pods.
	ListenPort int
	HealthPath string
	// Pods must be ready before the page is given requests.
	Pods []pulumi.Resource
}

// TLS is what the load balancer of Google Cloud needs: the name, address and
// certificate that it answers with, and how it treats its backends.
type TLS struct {
	ProjectID string
	Host      string
	// AddressName and CertificateMap are the names under which address and certificates are made.
	AddressName    string
	CertificateMap string
	Labels         pulumi.StringMap
	// Protect refuses to delete address and certificate: names lead to the one, and
	// the other takes hours to be issued again.
	Protect      bool
	Timeout      time.Duration
	DrainTimeout time.Duration
	LogPercent   int
}

// Args of [New].
type Args struct {
	Namespace pulumi.StringInput
	Backends  []Backend
	// Pages are served beside the API.
	Pages []Page
	// Key keeps everybody out whose requests do not carry it in the header for
	// rehearsals; "" lets all in.
	Key string
	// TLS is set in the clouds. Without it the gateway is plain HTTP on LocalPort of this machine.
	TLS       *TLS
	LocalPort int
}

func (a *Args) check() error {
	var faults []error
	if a.Namespace == nil {
		faults = append(faults, errors.New("no Namespace"))
	}
	sum := 0
	for _, b := range a.Backends {
		if b.Weight < 0 {
			faults = append(faults, fmt.Errorf("weight of %s is %d", b.Slot, b.Weight))
		}
		sum += b.Weight
	}
	if sum != 100 {
		faults = append(faults, fmt.Errorf("weights add up to %d, not 100", sum))
	}
	if a.TLS == nil && a.LocalPort == 0 {
		faults = append(faults, errors.New("neither TLS nor LocalPort is set"))
	}
	if a.TLS != nil && (a.TLS.ProjectID == "" || a.TLS.Host == "" || a.TLS.AddressName == "" || a.TLS.CertificateMap == "") {
		faults = append(faults, errors.New("TLS needs project, host, address and certificate map"))
	}
	return errors.Join(faults...)
}

// Gateway is the environment's entry.
type Gateway struct {
	pulumi.ResourceState

	// URL is where the API is reached.
	URL pulumi.StringOutput `pulumi:"url"`
	// DNS are the records that the host's name servers must have, one a line.
	DNS pulumi.StringArrayOutput `pulumi:"dns"`
}

// New makes the entry.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Gateway, error) {
	if err := args.check(); err != nil {
		return nil, fmt.Errorf("gateway %s: %w", name, err)
	}
	g := &Gateway{}
	if err := ctx.RegisterComponentResource("coditect:gateway:Gateway", name, g, opts...); err != nil {
		return nil, fmt.Errorf("gateway %s: %w", name, err)
	}
	// Outputs are set after the registration, which makes them anew.
	g.URL = url(args)
	e := entry{Args: args, parent: g}
	g.DNS = pulumi.StringArray{}.ToStringArrayOutput()
	var ground []pulumi.Resource
	if args.TLS != nil {
		made, records, err := e.identity(ctx)
		if err != nil {
			return nil, fmt.Errorf("gateway %s: %w", name, err)
		}
		ground, g.DNS = made, records
	}
	gateway, err := e.object(ctx, gatewayAPI, "Gateway", Name, programmed(args), e.gateway(), ground...)
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", name, err)
	}
	needs := []pulumi.Resource{gateway}
	for _, b := range args.Backends {
		if b.Weight > 0 {
			needs = append(needs, b.Pods...)
		}
	}
	if args.TLS != nil {
		policies, err := e.cloud(ctx, gateway)
		if err != nil {
			return nil, fmt.Errorf("gateway %s: %w", name, err)
		}
		// A route without them would have its backends checked at "/", where none is healthy.
		needs = append(needs, policies...)
	}
	if _, err := e.object(ctx, gatewayAPI, "HTTPRoute", Route, accepted, e.route(), needs...); err != nil {
		return nil, fmt.Errorf("gateway %s: %w", name, err)
	}
	for _, page := range args.Pages {
		if err := e.page(ctx, page, gateway); err != nil {
			return nil, fmt.Errorf("gateway %s: %w", name, err)
		}
	}
	if err := ctx.RegisterResourceOutputs(g, pulumi.Map{"url": g.URL, "dns": g.DNS}); err != nil {
		return nil, fmt.Errorf("gateway %s: outputs: %w", name, err)
	}
	return g, nil
}

// Callers are the addresses from which the gateway's requests and checks reach pods.
func Callers(local bool) networkingv1.NetworkPolicyPeerArray {
	if local {
		return networkingv1.NetworkPolicyPeerArray{pod.Range("127.0.0.0/8")}
	}
	// Google's front ends and health checkers.
	return networkingv1.NetworkPolicyPeerArray{pod.Range("35.191.0.0/16"), pod.Range("130.211.0.0/22")}
}

// Hops is how many entries the gateway adds to X-Forwarded-For: the client's
// address, and in the cloud the load balancer's own behind it.
func Hops(local bool) int {
	if local {
		return 1
	}
	return 2
}

func url(a Args) pulumi.StringOutput {
	if a.TLS != nil {
		return pulumi.Sprintf("https://%s%s", a.TLS.Host, contract.BasePath)
	}
	return pulumi.Sprintf("http://127.0.0.1:%d%s", a.LocalPort, contract.BasePath)
}

// What an update waits for: these kinds have no readiness that Pulumi knows by itself.
var accepted = map[string]string{
	"pulumi.com/waitFor": `["jsonpath={.status.parents[0].conditions[?(@.type==\"Accepted\")].status}=True",` +
		`"jsonpath={.status.parents[0].conditions[?(@.type==\"ResolvedRefs\")].status}=True"]`,
}

func programmed(a Args) map[string]string {
	annotations := map[string]string{"pulumi.com/waitFor": "condition=Programmed"}
	if a.TLS != nil {
		annotations["networking.gke.io/certmap"] = a.TLS.CertificateMap
	}
	return annotations
}

// entry renders one gateway's objects.
type entry struct {
	Args

	parent pulumi.Resource
}

// object makes a custom resource of the gateway.
func (e *entry) object(ctx *pulumi.Context, apiVersion, kind, name string, annotations map[string]string, spec pulumi.Map, needs ...pulumi.Resource) (pulumi.Resource, error) {
	object, err := apiextensions.NewCustomResource(ctx, name+"-"+strings.ToLower(kind), &apiextensions.CustomResourceArgs{
		ApiVersion:  pulumi.String(apiVersion),
		Kind:        pulumi.String(kind),
		Metadata:    pod.Meta(name, e.Namespace, pod.Labels(name, component, nil), annotations),
		OtherFields: kubernetes.UntypedArgs{"spec": spec},
	}, pulumi.Parent(e.parent), pulumi.DependsOn(needs))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return object, nil
}

func (e *entry) gateway() pulumi.Map {
	if e.TLS == nil {
		return pulumi.Map{
			"gatewayClassName": pulumi.String("simcloud"),
			"listeners":        pulumi.Array{listener("http", "HTTP", e.LocalPort, nil)},
		}
	}
	return pulumi.Map{
		"gatewayClassName": pulumi.String("gke-l7-global-external-managed"),
		"addresses": pulumi.Array{pulumi.Map{
			"type": pulumi.String("NamedAddress"), "value": pulumi.String(e.TLS.AddressName),
		}},
		// No tls block: the certificate map of the annotation holds the certificates.
		"listeners": pulumi.Array{
			listener("http", "HTTP", 80, pulumi.String(e.TLS.Host)),
			listener("https", "HTTPS", 443, pulumi.String(e.TLS.Host)),
		},
	}
}

func listener(name, protocol string, port int, host pulumi.Input) pulumi.Map {
	l := pulumi.Map{
		"name": pulumi.String(name), "protocol": pulumi.String(protocol), "port": pulumi.Int(port),
		"allowedRoutes": pulumi.Map{"namespaces": pulumi.Map{"from": pulumi.String("Same")}},
	}
	if host != nil {
		l["hostname"] = host
	}
	return l
}

// route serves the API's prefix as it is: the load balancer rewrites nothing.
func (e *entry) route() pulumi.Map {
	backends := pulumi.Array{}
	for _, b := range e.Backends {
		backends = append(backends, pulumi.Map{
			"name": b.Service, "port": pulumi.Int(b.Port), "weight": pulumi.Int(b.Weight),
		})
	}
	return e.below(contract.BasePath, e.Key, backends)
}

// below serves what begins with the prefix and carries the key, if there is one.
func (e *entry) below(prefix, key string, backends pulumi.Array) pulumi.Map {
	section := "http"
	if e.TLS != nil {
		section = "https"
	}
	match := pulumi.Map{"path": pulumi.Map{"type": pulumi.String("PathPrefix"), "value": pulumi.String(prefix)}}
	if key != "" {
		match["headers"] = pulumi.Array{pulumi.Map{
			"type": pulumi.String("Exact"), "name": pulumi.String(contract.HeaderRehearsal), "value": pulumi.String(key),
		}}
	}
	return e.rules(section, pulumi.Map{"matches": pulumi.Array{match}, "backendRefs": backends})
}

// page makes a page's route, after its pods and the policies of its Service.
func (e *entry) page(ctx *pulumi.Context, p Page, gateway pulumi.Resource) error {
	needs := append([]pulumi.Resource{gateway}, p.Pods...)
	if e.TLS != nil {
		policies, err := e.policies(ctx, p.Name, p.Service, p.ListenPort, p.HealthPath)
		if err != nil {
			return err
		}
		needs = append(needs, policies...)
	}
	backend := pulumi.Map{"name": p.Service, "port": pulumi.Int(p.Port), "weight": pulumi.Int(1)}
	_, err := e.object(ctx, gatewayAPI, "HTTPRoute", p.Name, accepted, e.below(p.Prefix, "", pulumi.Array{backend}), needs...)
	return err
}

// rules is a route of one rule on one listener.
func (e *entry) rules(section string, rule pulumi.Map) pulumi.Map {
	spec := pulumi.Map{
		"parentRefs": pulumi.Array{pulumi.Map{
			"name": pulumi.String(Name), "sectionName": pulumi.String(section),
		}},
		"rules": pulumi.Array{rule},
	}
	if e.TLS != nil {
		spec["hostnames"] = pulumi.Array{pulumi.String(e.TLS.Host)}
	}
	return spec
}
