#!/usr/bin/env bash
# Runs a command with the test double of FoundationDB's C client in place of
# the real one: fdb-double.sh COMMAND... Built once for each version of its
# sources; see app/internal/kv/fdbkv/fdbdouble/README.md for what it is.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
source=$root/app/internal/kv/fdbkv/fdbdouble

# The directory is named by the sources, so that Go's cache sees another library as another build.
version=$(cat "$source"/client/* "$source"/include/*.h "$source"/include/*/*.h | sha256sum | cut -c1-16)
dir=$root/.data/fdb-double/$version
if [ ! -e "$dir/libfdb_c.so" ]; then
  command -v g++ >/dev/null || { echo "fdb-double: g++ is needed to build the test double" >&2; exit 1; }
  mkdir -p "$dir"
  scratch=$(mktemp -d "$dir/build.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  g++ -std=c++17 -O1 -g -Wall -Wextra -Werror -fPIC -shared -pthread -I "$source/include" \
    -o "$scratch/libfdb_c.so" "$source"/client/*.cc
  mv "$scratch/libfdb_c.so" "$dir/libfdb_c.so" # whole or not at all, whoever builds at the same time
  printf 'double:%s@127.0.0.1:4500\n' "$version" >"$scratch/fdb.cluster"
  mv "$scratch/fdb.cluster" "$dir/fdb.cluster"
  rm -rf "$scratch"
  trap - EXIT
fi

export CGO_ENABLED=1 CGO_CFLAGS="-O2 -g -I$source/include" CGO_LDFLAGS="-L$dir -Wl,-rpath,$dir"
export FDB_CLUSTER_FILE=$dir/fdb.cluster
exec "$@"
