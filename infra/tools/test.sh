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
tested=$(cd infra && go list -test -f '{{.ImportPath}} {{join .Deps " "}}' ./... | grep '^[^ ]*\.test ')
mapfile -t heavy < <(grep -E 'pulumi-(gcp|kubernetes)/sdk' <<<"$tested" | sed 's/\.test .*//')
mapfile -t light < <(grep -vE 'pulumi-(gcp|kubernetes)/sdk' <<<"$tested" | sed 's/\.test .*//')
part "the simulated cloud and the whole environment through the real engine (infra)" infra -race -timeout 30m "${light[@]}"
[ -n "${SHORT:-}" ] || part "the program (infra)" infra -timeout 20m "${heavy[@]}"

printf '\n'
[ "$failed" -eq 0 ] && echo "All tests passed." || echo "Some tests failed; see above."
exit "$failed"
