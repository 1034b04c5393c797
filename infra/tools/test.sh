#!/usr/bin/env bash
# Every test, module by module, with a heading for each part.
#
# The race detector runs everywhere but in the packages that link the cloud
# providers' SDKs: compiling those once more for it takes minutes and 10 GB,
# and they only build values.
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" GOTOOLCHAIN=local

short=()
[ -z "${SHORT:-}" ] || short=(-short)
failed=0

part() {
  local title=$1 dir=$2
  shift 2
  printf '\n== %s\n' "$title"
  (cd "$dir" && go test -p 2 "${short[@]}" "$@") || failed=1
}

part "environments and their settings (stacks)" stacks -race ./...
part "the service (app)" app -race -timeout 20m ./...

printf '\n== the service on FoundationDB (app)\n'
infra/tools/test-fdb.sh --double "${short[@]}" || failed=1

# What of infra links the SDKs is told apart by asking the compiler, not by a list.
mapfile -t light < <(cd infra && go list -test -f '{{if not .ForTest}}{{$p := .ImportPath}}{{$heavy := false}}{{range .Deps}}{{if or (eq . "github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp") (eq . "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes")}}{{$heavy = true}}{{end}}{{end}}{{if not $heavy}}{{$p}}{{end}}{{end}}' ./... | grep -v '\.test$')
mapfile -t all < <(cd infra && go list ./...)
heavy=()
for p in "${all[@]}"; do
  printf '%s\n' "${light[@]}" | grep -qxF "$p" || heavy+=("$p")
done
part "the simulated cloud and what needs no SDK (infra)" infra -race -timeout 20m "${light[@]}"
[ ${#heavy[@]} -eq 0 ] || [ -n "${SHORT:-}" ] ||
  part "the program, and the environment through the real engine (infra)" infra -timeout 20m "${heavy[@]}"

printf '\n'
[ "$failed" -eq 0 ] && echo "All tests passed." || echo "Some tests failed; see above."
exit "$failed"
