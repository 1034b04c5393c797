package kube

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/infra/controlplane"
	"coditect.ai/platform/infra/simcloud/kubernetes"
	"coditect.ai/platform/infra/simcloud/runtime"
	"coditect.ai/platform/infra/simcloud/store"
)

// kubelet runs the service's pods as processes of this machine, by the runtime
// of the local environment: their arguments, variables, secrets, probes, preStop
// and signals are those of the pod as the API server has it. Each pod is a
// Deployment of one to that runtime.
//
// What it changes, since here is neither FoundationDB nor a network for each pod:
// the engine is the embedded one, nothing waits for the database's names, and
// a process listens on its pod's address alone.
type kubelet struct {
	t       *testing.T
	plane   *controlplane.ControlPlane
	objects *store.Store
	runtime *runtime.Runtime
	images  map[string]string // of the pods → of the runtime
	store   string            // the embedded engine's directory
	told    map[string]object // statuses by pod, to tell only what is new
	leaving map[string]bool
	ends    sync.WaitGroup
}

// secrets are what Secret Manager would have, by name.
type secrets map[string]string

func (s secrets) Access(name, _ string) ([]byte, error) {
	value, ok := s[name]
	if !ok {
		return nil, fmt.Errorf("secret %q has no version", name)
	}
	return []byte(value), nil
}

// startKubelet runs the service's pods until the test ends. releases are
// executables by the image that stands for them.
func startKubelet(ctx context.Context, t *testing.T, c *controlplane.ControlPlane, all []object, releases map[string]string) *kubelet {
	t.Helper()
	directory := t.TempDir()
	objects, err := store.Open(filepath.Join(directory, "objects.json"))
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	first, err := netip.ParseAddr(realAddresses)
	if err != nil {
		t.Fatal(err)
	}
	registry := runtime.NewImages(filepath.Join(directory, "images"))
	k := &kubelet{
		t: t, plane: c, objects: objects, store: filepath.Join(directory, "store"),
		images: map[string]string{}, told: map[string]object{}, leaving: map[string]bool{},
	}
	k.runtime, err = runtime.New(runtime.Options{
		Directory: directory, Objects: objects, Images: registry, Logger: slog.New(slog.DiscardHandler),
		Secrets: secrets{"jwt-secret": base64.StdEncoding.EncodeToString(key), "mail-password": "unused"},
		Address: func(serial uint64) string {
			address := first
			for range serial {
				address = address.Next()
			}
			return address.String()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for image, path := range releases {
		if k.images[image], err = registry.Push("api", path, func(string) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range all {
		if _, kind := controlplane.Kind(o); kind == "SecretProviderClass" {
			k.put(kubernetes.SecretProviderClass, o)
		}
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.runtime.Run(running)
	}()
	watching, unwatch := context.WithCancel(ctx)
	k.ends.Go(func() { k.watch(watching, namespaceOf(all)) })
	t.Cleanup(func() {
		if t.Failed() {
			k.explain()
		}
		unwatch()
		k.ends.Wait()
		stop()
		<-ended
	})
	return k
}

// explain logs what keeps pods from being ready.
func (k *kubelet) explain() {
	for _, workload := range k.runtime.Workloads() {
		if !workload.Complete {
			k.t.Logf("pod %s: %s", workload.Name, strings.Join(workload.Reasons, "; "))
		}
	}
}

func (k *kubelet) put(kind string, o object) {
	namespace, _ := child(o, "metadata")["namespace"].(string)
	key := store.Key{Kind: kind, Namespace: namespace, Name: controlplane.Name(o)}
	if _, err := k.objects.Put(store.Object{Key: key, Inputs: o}); err != nil {
		k.t.Errorf("%s: %v", title(o), err)
	}
}

// watch makes what runs agree with the API server's pods, and tells it how they are.
func (k *kubelet) watch(ctx context.Context, namespace string) {
	for ctx.Err() == nil {
		pods, err := k.plane.List(ctx, "v1", "Pod", namespace, "app.kubernetes.io/name="+realApp)
		if err == nil {
			err = k.sync(ctx, pods)
		}
		if err != nil && ctx.Err() == nil {
			k.t.Errorf("the kubelet: %v", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (k *kubelet) sync(ctx context.Context, pods []object) error {
	running := map[string]runtime.PodStatus{}
	for _, workload := range k.runtime.Workloads() {
		for _, pod := range workload.Pods {
			running[workload.Name] = pod
		}
	}
	for _, pod := range pods {
		name := controlplane.Name(pod)
		switch _, known := k.told[name]; {
		case child(pod, "spec")["nodeName"] == nil || k.leaving[name]:
		case child(pod, "metadata")["deletionTimestamp"] != nil:
			k.leaving[name] = true
			k.ends.Go(func() { k.leave(ctx, pod) })
		case !known:
			k.told[name] = nil
			k.put(kubernetes.Deployment, k.deployment(pod))
		default:
			if err := k.tell(ctx, pod, running[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// leave ends a pod that was deleted: preStop, SIGTERM, and only then it is gone.
func (k *kubelet) leave(ctx context.Context, pod object) {
	key := store.Key{Kind: kubernetes.Deployment, Namespace: child(pod, "metadata")["namespace"].(string), Name: controlplane.Name(pod)}
	err := k.objects.Delete(key)
	if err == nil {
		err = k.runtime.Release(ctx, key)
	}
	if err == nil {
		err = k.plane.Gone(ctx, pod)
	}
	if err != nil && ctx.Err() == nil {
		k.t.Errorf("%s does not leave: %v", title(pod), err)
	}
}

// deployment is a pod as the runtime takes it.
func (k *kubelet) deployment(pod object) object {
	spec := clone(child(pod, "spec"))
	delete(spec, "initContainers")
	c := item(spec["containers"], 0)
	image, _ := c["image"].(string)
	if k.images[image] == "" {
		k.t.Errorf("%s: no release stands for the image %s", title(pod), image)
	}
	c["image"] = k.images[image]
	here := map[string]string{
		contract.EnvStoreEngine:    contract.EngineEmbedded,
		contract.EnvListen:         fmt.Sprintf("$(POD_IP):%d", contract.Port),
		contract.EnvInternalListen: fmt.Sprintf("$(POD_IP):%d", contract.InternalPort),
	}
	env := []any{
		object{"name": "POD_IP", "valueFrom": object{"fieldRef": object{"fieldPath": "status.podIP"}}},
		object{"name": contract.EnvStoreDir, "value": k.store},
	}
	for _, one := range c["env"].([]any) {
		variable := one.(object)
		if value, changed := here[variable["name"].(string)]; changed {
			variable["value"] = value
		}
		env = append(env, variable)
	}
	c["env"] = env
	metadata := child(pod, "metadata")
	return object{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": object{"name": metadata["name"], "namespace": metadata["namespace"]},
		"spec": object{
			"replicas": 1, "selector": object{"matchLabels": metadata["labels"]},
			"template": object{"metadata": object{"labels": metadata["labels"]}, "spec": spec},
		},
	}
}

// tell reports a pod to the API server where it is otherwise than before.
func (k *kubelet) tell(ctx context.Context, pod object, now runtime.PodStatus) error {
	if now.Name == "" {
		return nil // it is being made
	}
	ready, restarts := "False", 0
	if now.Ready {
		ready = "True"
	}
	for _, c := range now.Containers {
		restarts += c.Restarts
	}
	name := controlplane.Name(pod)
	short := object{"address": now.Address, "ready": ready, "restarts": restarts}
	if reflect.DeepEqual(k.told[name], short) {
		return nil
	}
	since := time.Now().UTC().Format(time.RFC3339)
	condition := func(kind, status string) object {
		return object{"type": kind, "status": status, "lastTransitionTime": since}
	}
	c := podContainer(pod)
	err := k.plane.ApplyStatus(ctx, object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{"name": name, "namespace": child(pod, "metadata")["namespace"], "uid": child(pod, "metadata")["uid"]},
		"status": object{
			"phase": "Running", "startTime": now.Created.UTC().Format(time.RFC3339),
			"podIP": now.Address, "podIPs": []any{object{"ip": now.Address}},
			"conditions": []any{
				condition("Initialized", "True"), condition("ContainersReady", ready), condition("Ready", ready),
			},
			"containerStatuses": []any{object{
				"name": c["name"], "image": c["image"], "imageID": "", "ready": now.Ready, "started": true, "restartCount": restarts,
				"state": object{"running": object{"startedAt": now.Created.UTC().Format(time.RFC3339)}},
			}},
		},
	})
	if refusal := (*controlplane.RefusalError)(nil); errors.As(err, &refusal) && refusal.Code == http.StatusNotFound {
		return nil // it has gone meanwhile
	}
	if err == nil {
		k.told[name] = short
	}
	return err
}

// crash kills one process of a slot, as a fault of its own would.
func (k *kubelet) crash(slot string) {
	for _, workload := range k.runtime.Workloads() {
		for _, pod := range workload.Pods {
			for _, c := range pod.Containers {
				if c.PID != 0 && pod.Ready && slotOf(workload.Name) == slot {
					_ = syscall.Kill(c.PID, syscall.SIGKILL) // it may have ended already: the next try finds another
					return
				}
			}
		}
	}
}
