#!/usr/bin/env bash
# Runs every fuzz target of the repository for the given time, one after another.
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" GOTOOLCHAIN=local

for module in stacks app infra; do
  while IFS=: read -r file func; do
    printf '== %s %s\n' "$func" "$module/$(dirname "$file")"
    (cd "$module" && go test -run '^$' -fuzz "^$func\$" -fuzztime "${1:-60s}" "./$(dirname "$file")")
  done < <(cd "$module" && grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's/^\.\/([^:]+):[0-9]+:func /\1:/')
done
