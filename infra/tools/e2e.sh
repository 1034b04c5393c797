#!/usr/bin/env bash
# Holds every environment's objects against a real Kubernetes control plane on this
# machine. Its executables are built once for each version and kept outside of the
# checkout, so that another clone does not build them again. Everything runs in
# network and process namespaces of its own: nothing of it is left, and nothing
# else is reached.
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" GOTOOLCHAIN=local

die() {
  echo "e2e: $*" >&2
  exit 1
}
etcd=$(command -v etcd) || die "etcd is not installed: run 'apt-get install etcd-server' (Debian), then this again."
command -v ip >/dev/null || die "ip is not installed: run 'apt-get install iproute2' (Debian), then this again."
# A user namespace makes an ordinary user its root; root itself needs none, where none may be made.
own=(unshare --net --mount --pid --fork --kill-child --mount-proc)
unshare --user --map-root-user true 2>/dev/null && own=(unshare --user --map-root-user "${own[@]:1}")
"${own[@]}" true 2>/dev/null || die "this user may not make network and process namespaces: allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or a container's seccomp profile), or run this as root."

kept=${XDG_CACHE_HOME:-$HOME/.cache}/coditect/tools
mkdir -p "$kept"
scratch=$(mktemp -d "$kept/.building.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# tool MODULE PACKAGE: builds the package's command at the version that our module
# for it pins, unless it is kept already, and sets $built to its path.
tool() {
  local dir=infra/tools/$1 name=${2##*/} module=${2%%/cmd/*} version
  version=$(awk -v module="$module" '$1 == "require" && $2 == module { print $3 } $1 == module { print $2 }' "$dir/go.mod" | head -n 1)
  built=$kept/$name-$version
  [ ! -x "$built" ] || return 0
  echo "e2e: building $name $version, once for this machine"
  local link="-s -w"
  [ "$1" != kubernetes ] || link="$link -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version")"
  infra/tools/build.sh "$name" "$dir" "$2" "$scratch/$name" -ldflags "$link"
  mv "$scratch/$name" "$built" # whole or not at all, whoever builds at the same time
}
tool kubernetes k8s.io/kubernetes/cmd/kube-apiserver; apiserver=$built
tool kubernetes k8s.io/kubernetes/cmd/kube-controller-manager; manager=$built
tool kubernetes k8s.io/kubernetes/cmd/kube-scheduler; scheduler=$built
tool kwok sigs.k8s.io/kwok/cmd/kwok; kwok=$built
tool traefik github.com/traefik/traefik/v3/cmd/traefik; traefik=$built

# Releases that tell each other apart by the version in their answers.
releases=$PWD/.data/e2e
for release in stable canary next; do
  infra/tools/build.sh "coditect-api-$release" app ./cmd/coditect-api "$releases/$release/coditect-api" -ldflags "-X main.version=$release"
done
cd infra
go test -c -o "$releases/kube.test" ./e2e/kube

echo "e2e: every environment on ${apiserver##*/} with its controllers, ${kwok##*/} for nodes and ${traefik##*/} for the gateway (docs/kubernetes-proof.md)"
cd e2e/kube
export CODITECT_OWN_NETWORK=1 CODITECT_ETCD=$etcd CODITECT_KUBE_APISERVER=$apiserver CODITECT_KUBE_CONTROLLER_MANAGER=$manager \
  CODITECT_KUBE_SCHEDULER=$scheduler CODITECT_KWOK=$kwok CODITECT_TRAEFIK=$traefik CODITECT_RELEASES=$releases
"${own[@]}" bash -c 'ip link set lo up && ip address add 10.244.0.0/16 dev lo && exec "$@"' e2e \
  "$releases/kube.test" -test.timeout 15m -test.v -test.parallel 8 ${RUN:+-test.run "$RUN"}
