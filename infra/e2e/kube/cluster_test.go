package kube

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/infra/controlplane"
)

// addresses are those of pods, all of them this network namespace's own: the
// lower half kwok's, the upper half that of pods which are processes.
const addresses, fakeAddresses, realAddresses = "10.244.0.0/16", "10.244.0.0/17", "10.244.128.0"

// tools are the executables that act on objects.
type tools struct{ manager, scheduler, kwok, traefik string }

// ownNetwork finds the tools, and skips the test where it does not have a network
// namespace of its own: pods have addresses, and the gateway well-known ports.
func ownNetwork(t *testing.T) tools {
	t.Helper()
	if os.Getenv("CODITECT_OWN_NETWORK") == "" {
		t.Skip("needs a network namespace of its own: `make e2e` makes one")
	}
	return tools{
		os.Getenv("CODITECT_KUBE_CONTROLLER_MANAGER"), os.Getenv("CODITECT_KUBE_SCHEDULER"),
		os.Getenv("CODITECT_KWOK"), os.Getenv("CODITECT_TRAEFIK"),
	}
}

// inhabit makes a cluster of a control plane that has the objects of a plan: the
// plan's nodes, its volumes, controllers, a kubelet without containers for all
// pods but those of realApp ("" for none), and a gateway on the address.
func inhabit(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, with tools, plan, realApp, gateway string) {
	t.Helper()
	all := objects(t, plan)
	for i, size := range nodes(t, plan) {
		name := "node-" + strconv.Itoa(i)
		node := object{"apiVersion": "v1", "kind": "Node", "metadata": object{"name": name, "labels": object{
			"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "us-central1-a", "topology.kubernetes.io/region": "us-central1",
		}}}
		apply(ctx, t, c, node)
		node["status"] = object{"capacity": size, "allocatable": size}
		if err := c.ApplyStatus(ctx, node); err != nil {
			t.Fatalf("%s: %v", title(node), err)
		}
	}
	apply(ctx, t, c, object{
		"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": object{"name": "standard-rwo"},
		"provisioner": "pd.csi.storage.gke.io", "volumeBindingMode": "WaitForFirstConsumer",
	})
	for _, volume := range volumes(all) {
		apply(ctx, t, c, volume)
	}
	// The class that the plan names, implemented here by Traefik.
	ports := map[int]bool{}
	for _, o := range all {
		if _, kind := controlplane.Kind(o); kind == "Gateway" {
			apply(ctx, t, c, object{
				"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
				"metadata": object{"name": child(o, "spec")["gatewayClassName"]},
				"spec":     object{"controllerName": "traefik.io/gateway-controller"},
			})
			for i := range child(o, "spec")["listeners"].([]any) {
				ports[int(listener(o, i)["port"].(float64))] = listener(o, i)["protocol"] == "HTTPS"
			}
		}
	}
	if err := c.Control(ctx, with.manager, with.scheduler); err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes(ctx, with.kwok, stages(t, realApp), fakeAddresses); err != nil {
		t.Fatal(err)
	}
	if err := c.Route(ctx, with.traefik, gateway, ports); err != nil {
		t.Fatal(err)
	}
}

var (
	poolSize = regexp.MustCompile(`(?m)^initialNodeCount: (\d+)$`)
	poolType = regexp.MustCompile(`(?m)^  machineType: (\S+)$`)
)

// nodes are the sizes of the plan's nodes as GKE leaves them to pods; the
// environment that has no nodes of its own gets one.
func nodes(t *testing.T, plan string) []object {
	t.Helper()
	// Of each machine: what GKE's page on allocatable resources says, less what its own pods ask for.
	sizes := map[string]object{
		"":              {"cpu": "8", "memory": "16Gi", "pods": "110"},
		"e2-standard-4": {"cpu": "3520m", "memory": "12300Mi", "pods": "110"},
	}
	raw, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	count, machine := 1, ""
	for text := range strings.SplitSeq(string(raw), "\n---\n") {
		if strings.HasPrefix(text, "# gcp:container/nodePool:NodePool ") {
			size, name := poolSize.FindStringSubmatch(text), poolType.FindStringSubmatch(text)
			if size == nil || name == nil {
				t.Fatalf("the plan's pool of nodes has no size:\n%s", text)
			}
			count, _ = strconv.Atoi(size[1])
			machine = name[1]
		}
	}
	size, known := sizes[machine]
	if !known {
		t.Fatalf("nothing is known of what GKE leaves to pods on %s: add it", machine)
	}
	return slices.Repeat([]object{size}, count)
}

// volumes are what the storage driver would make for the plan's claims, no more.
// As the driver's own, each is the volume of its one claim: otherwise a pod that is
// placed before its volume is seen to be there waits for a driver for ever.
func volumes(all []object) []object {
	var made []object
	provide := func(of object, claim string, spec object) {
		made = append(made, object{
			"apiVersion": "v1", "kind": "PersistentVolume", "metadata": object{"name": "pv-" + claim},
			"spec": object{
				"capacity": child(spec, "resources", "requests"), "accessModes": spec["accessModes"],
				"storageClassName": spec["storageClassName"], "persistentVolumeReclaimPolicy": "Retain",
				"claimRef": object{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": child(of, "metadata")["namespace"], "name": claim},
				"csi":      object{"driver": "pd.csi.storage.gke.io", "volumeHandle": "pv-" + claim},
			},
		})
	}
	for _, o := range all {
		switch _, kind := controlplane.Kind(o); kind {
		case "PersistentVolumeClaim":
			provide(o, controlplane.Name(o), child(o, "spec"))
		case "StatefulSet":
			spec := child(o, "spec")
			templates, _ := spec["volumeClaimTemplates"].([]any)
			for _, template := range templates {
				for i := range int(spec["replicas"].(float64)) {
					claim := template.(object)
					provide(o, fmt.Sprintf("%s-%s-%d", controlplane.Name(claim), controlplane.Name(o), i), child(claim, "spec"))
				}
			}
		}
	}
	return made
}

// stages tell kwok what becomes of nodes and of pods, except those of an app.
func stages(t *testing.T, except string) []object {
	t.Helper()
	files, err := filepath.Glob("stages/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stages: %v", err)
	}
	var all []object
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.SplitSeq(string(raw), "\n---\n") {
			stage := decode(t, text)
			if child(stage, "spec", "resourceRef")["kind"] == "Pod" && except != "" {
				selector := child(stage, "spec", "selector")
				selector["matchExpressions"] = append(selector["matchExpressions"].([]any), object{
					"key": `.metadata.labels["app.kubernetes.io/name"]`, "operator": "NotIn", "values": []string{except},
				})
			}
			all = append(all, stage)
		}
	}
	return all
}

// ended gives the plan's Gateway the certificate by which TLS ends there: on GKE
// a certificate map that an annotation names, for any other implementation a
// Secret. It returns that Secret, nil where no listener ends TLS, and the
// certificate's authority.
func ended(t *testing.T, gateway object) (secret object, authority *x509.CertPool) {
	t.Helper()
	for i := range child(gateway, "spec")["listeners"].([]any) {
		l := listener(gateway, i)
		if l["protocol"] != "HTTPS" || l["tls"] != nil {
			continue
		}
		host, _ := l["hostname"].(string)
		var certificate, key []byte
		certificate, key, authority = selfSigned(t, host)
		secret = object{
			"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
			"metadata": object{"name": "certificate", "namespace": child(gateway, "metadata")["namespace"]},
			"data": object{
				"tls.crt": base64.StdEncoding.EncodeToString(certificate), "tls.key": base64.StdEncoding.EncodeToString(key),
			},
		}
		l["tls"] = object{"certificateRefs": []any{object{"name": "certificate"}}}
	}
	return secret, authority
}

func selfSigned(t *testing.T, host string) (certificate, private []byte, authority *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	private = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
	authority = x509.NewCertPool()
	authority.AppendCertsFromPEM(certificate)
	return certificate, private, authority
}

// await waits until a check finds nothing to complain of. It ends the test when
// the context does, or a daemon that could bring it about.
func await(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, check func() (complaint string)) {
	t.Helper()
	for {
		complaint := check()
		if complaint == "" {
			return
		}
		if err := c.Alive(); err != nil {
			t.Fatalf("%v\nand so %s", err, complaint)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", complaint)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
