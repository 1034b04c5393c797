#!/usr/bin/env bash
# Holds every environment's objects against a real Kubernetes API server on this
# machine. Its executable is built once for each version and kept outside of the
# checkout (five to ten minutes on two cores), so that another clone does not build it again.
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" GOTOOLCHAIN=local

etcd=$(command -v etcd) || { echo "e2e: etcd is not installed: run 'apt-get install etcd-server' (Debian), then this again." >&2; exit 1; }
version=$(sed -n 's|^require k8s.io/kubernetes \(v[0-9.]*\).*|\1|p' infra/tools/kubernetes/go.mod)
apiserver=${XDG_CACHE_HOME:-$HOME/.cache}/coditect/tools/kube-apiserver-$version
if [ ! -x "$apiserver" ]; then
  mkdir -p "$(dirname "$apiserver")"
  scratch=$(mktemp -d "$apiserver.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  echo "e2e: building kube-apiserver $version, once for this machine"
  link="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version")"
  infra/tools/build.sh kube-apiserver infra/tools/kubernetes k8s.io/kubernetes/cmd/kube-apiserver "$scratch/kube-apiserver" -ldflags "$link"
  mv "$scratch/kube-apiserver" "$apiserver" # whole or not at all, whoever builds at the same time
fi

echo "e2e: every environment's objects on a real kube-apiserver $version (no controllers, no nodes: docs/kubernetes-proof.md)"
cd infra
CODITECT_KUBE_APISERVER=$apiserver CODITECT_ETCD=$etcd go test -count 1 -timeout 10m -v ./e2e/kube
