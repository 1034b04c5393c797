// Package simcloud is a cloud on one machine: simulated gcp and kubernetes
// resource providers that speak Pulumi's provider protocol to the real engine,
// and a runtime in which Deployments are processes of this machine and an
// HTTPRoute is an HTTP gateway with weights.
//
// It owns what the simulated cloud is made of and how its parts are joined:
//
//	daemon      one background process per environment directory, its client and API
//	simcloud    Cloud: the parts below, opened and closed together
//	gateway     Gateways and HTTPRoutes as listeners, splits and counters
//	collector   PodMonitorings as a real Prometheus that scrapes their pods
//	runtime     Deployments as pods as processes: images, volumes, probes, restarts, rollouts
//	kubernetes  objects: strict checks, what a change replaces, waiting for readiness
//	gcp         resources: ids, computed outputs, what a change replaces, Secret Manager's values
//	provider    Pulumi's protocol, once for both providers
//	store       objects that survive kill -9
//
// Imports go down this list, never up. Nothing here knows the service or the
// program that deploys it, and neither of Pulumi's large SDKs is imported.
//
// # What objects of an executing environment look like
//
// With Options.Execute (the local environment) objects do something. They are
// written as for any cluster; these points are the simulated cluster's own:
//
//   - Image: "<repository>@sha256:<digest>" as returned by daemon.Client.PushImage.
//     An image is one executable. The container's command may be left out; if it is
//     set, the base name of its first word must be the executable's name.
//     A tag, or a digest that was never pushed, is ImagePullBackOff.
//   - Address: every pod has its own loopback address out of 127.64.0.0/10. There are
//     no network namespaces, so a container must listen on that address and not on
//     0.0.0.0: take it from a fieldRef to status.podIP and write, for instance,
//     "$(POD_IP):8080". Each pod then has all ports to itself.
//   - Environment: value, $(NAME) of an earlier variable, fieldRef (metadata.name,
//     metadata.namespace, metadata.uid, metadata.labels['x'], metadata.annotations['x'],
//     status.podIP, status.hostIP, spec.nodeName, spec.serviceAccountName), configMapKeyRef,
//     secretKeyRef, envFrom. Nothing is inherited but PATH, HOSTNAME and HOME.
//   - Volumes: persistentVolumeClaim (one directory per claim, shared by all pods),
//     emptyDir, configMap, secret, csi with driver gcsfuse.csi.storage.gke.io and a
//     bucketName (one directory per bucket, which outlives all objects), and csi with driver secrets-store-gke.csi.k8s.io or
//     secrets-store.csi.k8s.io. There are no mount namespaces either: an environment
//     value or argument that is, or lies below, a mountPath (also after "--flag=") is
//     rewritten to the directory on this machine. A path that the program itself has
//     built in is not.
//   - SecretProviderClass: provider "gke" or "gcp", parameters.secrets a YAML list of
//     {resourceName: projects/P/secrets/NAME/versions/V, path or fileName: FILE}. The
//     file holds the version's value of the simulated Secret Manager; P is not looked at.
//     Files are written anew whenever a container starts.
//   - Probes: httpGet and tcpSocket on the pod's address; preStop: sleep, or exec of
//     sleep, or exec of the image's own executable, or httpGet.
//   - Gateway: gatewayClassName "simcloud", listeners with protocol HTTP; each listens
//     on 127.0.0.1:<port>. Other classes are recorded and reported ready.
//   - HTTPRoute: parentRefs to such a Gateway (a listener admits routes of its own
//     namespace unless allowedRoutes says All), hostnames, matches of path type
//     PathPrefix or Exact, backendRefs to Services with port and weight; longest path
//     first. Filters and other matches are refused by the condition Accepted=False.
//   - Service: ClusterIP with a selector; targetPort a number or a port's name. A pod
//     that ends is out of it at once, where a cloud's load balancer takes seconds.
//   - HorizontalPodAutoscaler: minReplicas counts where the Deployment has no replicas.
//   - PodMonitoring: selector, endpoints with port, path and interval, targetLabels.fromPod.
//     Prometheus scrapes running pods, ready or not, and the daemon's status has its
//     address. Series have namespace, job, instance and pod as on GKE. Without an
//     executable of Prometheus nothing is measured and the status says so.
//   - StatefulSet, DaemonSet, Job, CronJob: not executed; they fail, saying so.
//   - Everything else is recorded and has no effect: limits, security contexts, network
//     policies, disruption budgets, affinities.
//
// Objects need metadata.name (there is no automatic naming); without a namespace they
// go to "default", and a namespace must exist before what is in it.
// Readiness is awaited for Deployment, PersistentVolumeClaim, Gateway and
// HTTPRoute (the last two without pulumi.com/waitFor), 10 minutes unless
// pulumi.com/timeoutSeconds or a custom timeout says otherwise; pulumi.com/skipAwait is
// respected. The wait ends early where it cannot help: no such image, a container
// restarted four times without ever having been ready, a port that is taken. To apply
// the same once more is another attempt, with new pods.
//
// A Create of something that exists is refused unless it was made under the same URN:
// then the engine was cut off before it could record it, and the Create takes it over.
package simcloud
