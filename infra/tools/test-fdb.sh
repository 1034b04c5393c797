#!/usr/bin/env bash
# The suites of the engine, the records, the rules, the API and the load tool
# on FoundationDB: on the cluster that FDB_CLUSTER_FILE names, by the real
# client library; or with --double, in memory, on the test double of that
# library. Further arguments go to `go test`.
#
# The conformance suite has the whole cluster to itself. It refuses one that
# holds data, unless FDB_TEST_CLEAR=1 says that all of it may go.
set -euo pipefail
cd "$(dirname "$0")/../../app"
export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" GOTOOLCHAIN=local
packages=(./internal/kv/fdbkv/... ./internal/store/... ./internal/backup ./internal/auth ./internal/session ./internal/tenant ./internal/httpapi ./internal/load)

if [ "${1:-}" = --double ]; then
  shift
  echo "FoundationDB's binding on the TEST DOUBLE of its C client: in memory, no cluster."
  double=(../infra/tools/fdb-double.sh go test -race -p 2 -timeout 20m -tags fdb,fdbdouble)
  failed=0
  "${double[@]}" "$@" "${packages[@]}" || failed=1
  "${double[@]}" "$@" -run FoundationDB ./cmd/coditect-api || failed=1
  exit "$failed"
fi

if [ -z "${FDB_CLUSTER_FILE:-}" ]; then
  echo "test-fdb: skipped: FDB_CLUSTER_FILE names no cluster. (The test double's run is part of 'make test'.)"
  exit 0
fi
[ -r "$FDB_CLUSTER_FILE" ] || { echo "test-fdb: cannot read FDB_CLUSTER_FILE=$FDB_CLUSTER_FILE" >&2; exit 1; }
program='#define FDB_API_VERSION 730
#include <foundationdb/fdb_c.h>
int main(void) { return fdb_get_max_api_version() < 730; }'
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shellcheck disable=SC2086 # the variables hold several flags each
if ! printf '%s' "$program" | "${CC:-cc}" ${CGO_CFLAGS:-} -x c - -o "$scratch/client" ${CGO_LDFLAGS:-} -lfdb_c 2>"$scratch/why" || ! "$scratch/client"; then
  echo "test-fdb: no client library of FoundationDB 7.3 or later here (foundationdb/fdb_c.h, libfdb_c.so):" >&2
  cat "$scratch/why" >&2
  exit 1
fi
echo "FoundationDB: the cluster of $FDB_CLUSTER_FILE"
go test -race -p 1 -count 1 -timeout 30m -tags fdb "$@" "${packages[@]}" # one after the other: they share the cluster
