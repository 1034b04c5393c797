// Package kube reaches a Kubernetes cluster: the few things that an operator's
// commands ask of one about what Pulumi has made there. It reads objects, as
// their own types, and what pods have written; it makes and changes nothing.
//
// It knows neither the program nor what the objects are for. Whoever uses it
// states the part of [Client] that it needs where it needs it.
package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"coditect.ai/platform/infra/problem"
)

// ErrAbsent says that there is no such object.
var ErrAbsent = errors.New("there is no such object")

// timeout bounds one request.
const timeout = 30 * time.Second

// maxLog and maxLines are how much of a pod's log is read, in bytes and in lines from its end.
const (
	maxLog   = 1 << 20
	maxLines = 2000
)

// Resource is a kind of objects, as its path in the API.
type Resource struct {
	path, plural string
}

// Resources that commands read.
var (
	Pods         = Resource{"/api/v1", "pods"}
	Services     = Resource{"/api/v1", "services"}
	ConfigMaps   = Resource{"/api/v1", "configmaps"}
	Jobs         = Resource{"/apis/batch/v1", "jobs"}
	Deployments  = Resource{"/apis/apps/v1", "deployments"}
	StatefulSets = Resource{"/apis/apps/v1", "statefulsets"}
	HTTPRoutes   = Resource{"/apis/gateway.networking.k8s.io/v1", "httproutes"}
)

// Client speaks to one cluster. It may be used by several goroutines.
type Client struct{ rest *rest.RESTClient }

// New is a client of the cluster that a kubeconfig names, with the operator's
// own credentials: GKE's are asked of its plugin at each use.
func New(kubeconfig []byte) (*Client, error) { return dialing(kubeconfig, nil) }

// New is a client of the cluster that a kubeconfig names, from within it.
func (d *Detour) New(kubeconfig []byte) (*Client, error) { return dialing(kubeconfig, d.Dial) }

func dialing(kubeconfig []byte, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*Client, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("understand the kubeconfig: %w", err)
	}
	config.GroupVersion = &schema.GroupVersion{} // every request has its whole path
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme()).WithoutConversion()
	config.UserAgent, config.Timeout, config.Dial = "coditect", timeout, dial
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("prepare a client of the cluster: %w", err)
	}
	return &Client{client}, nil
}

// scheme knows what the API server answers instead of an object.
func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	s.AddUnversionedTypes(schema.GroupVersion{Version: "v1"}, &metav1.Status{})
	return s
}

// Get reads an object into a pointer to its type; [ErrAbsent] where there is none.
func (c *Client) Get(ctx context.Context, r Resource, namespace, name string, into any) error {
	raw, err := c.rest.Get().AbsPath(r.path, "namespaces", url.PathEscape(namespace), r.plural, url.PathEscape(name)).Do(ctx).Raw()
	if err != nil {
		return failed(err, "read "+r.plural+" "+namespace+"/"+name)
	}
	return decode(raw, into, "read "+r.plural+" "+namespace+"/"+name)
}

// List reads the objects that a label selector matches, "" for all, into a
// pointer to the type of their list.
func (c *Client) List(ctx context.Context, r Resource, namespace, selector string, into any) error {
	raw, err := c.rest.Get().AbsPath(r.path, "namespaces", url.PathEscape(namespace), r.plural).
		Param("labelSelector", selector).Do(ctx).Raw()
	if err != nil {
		return failed(err, "list "+r.plural+" of "+namespace)
	}
	return decode(raw, into, "list "+r.plural+" of "+namespace)
}

// Log is the end of what a container of a pod has written: 2,000 lines at most, and 1 MiB.
func (c *Client) Log(ctx context.Context, namespace, pod, container string) ([]byte, error) {
	doing := fmt.Sprintf("read the log of %s/%s, container %s", namespace, pod, container)
	stream, err := c.rest.Get().AbsPath(Pods.path, "namespaces", url.PathEscape(namespace), Pods.plural, url.PathEscape(pod), "log").
		Param("container", container).Param("tailLines", strconv.Itoa(maxLines)).Stream(ctx)
	if err != nil {
		return nil, failed(err, doing)
	}
	text, err := io.ReadAll(io.LimitReader(stream, maxLog))
	if err := errors.Join(err, stream.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return text, nil
}

func decode(raw []byte, into any, doing string) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: understand the answer: %w", doing, err)
	}
	return nil
}

// failed tells absence apart, and what the operator can mend.
func failed(err error, doing string) error {
	var answered apierrors.APIStatus
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s: %w", doing, ErrAbsent)
	case apierrors.IsUnauthorized(err), apierrors.IsForbidden(err):
		return problem.New(err, "the cluster does not let you %s: sign in with an account that may (gcloud auth login), then run this again.", doing)
	case errors.As(err, &answered):
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: reach the cluster: %w", doing, err)
}
