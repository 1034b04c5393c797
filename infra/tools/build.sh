#!/usr/bin/env bash
# Builds one command with progress, and turns the ways in which a build fails on
# a new machine into one sentence each.
#
#   build.sh NAME MODULE-DIR PACKAGE OUTPUT [go build flags…]
#
# A first build of the infrastructure compiles the cloud providers' SDKs and
# takes minutes; a silent terminal would look hung, so it counts what it compiles.
set -uo pipefail

name=$1 dir=$2 package=$3 output=$4
shift 4
root=$(cd "$(dirname "$0")/../.." && pwd)
log="$root/.data/build-$name.log"

die() {
  printf 'coditect: %s\n' "$*" >&2
  exit 1
}

mkdir -p "$root/.data" "$(dirname "$output")" 2>/dev/null && { : >"$log"; } 2>/dev/null ||
  die "cannot write below $root/.data and $(dirname "$output"): free some disk space or mend the permissions, then run this again."

need=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' "$dir/go.mod")
command -v go >/dev/null 2>&1 ||
  die "Go is not installed: install Go $need or later and put it on PATH."
have=$(cd / && GOTOOLCHAIN=local GOWORK=off go env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*//')
if [ "$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1)" != "$need" ]; then
  die "Go $have is too old: this repository needs Go $need or later (go env GOVERSION tells yours)."
fi

start=$SECONDS
GOTOOLCHAIN=local GOWORK=off go build -C "$dir" -v -o "$output" "$@" "$package" >"$log" 2>&1 &
build=$!
trap 'kill "$build" 2>/dev/null; wait "$build" 2>/dev/null; printf "\n" >&2; exit 130' INT TERM

last=0
while kill -0 "$build" 2>/dev/null; do
  sleep 0.2
  spent=$((SECONDS - start))
  [ "$spent" -ge 2 ] || continue
  if [ -t 2 ]; then # on one line, cut where the terminal is narrow
    printf '\r\033[?7l  building %s: %d packages compiled, %d s \033[?7h' "$name" "$(grep -vc '^go: ' "$log")" "$spent" >&2
    last=$spent
  elif [ $((spent - last)) -ge 30 ]; then
    printf '  building %s: %d packages compiled, %d s\n' "$name" "$(grep -vc '^go: ' "$log")" "$spent" >&2
    last=$spent
  fi
done
wait "$build"
code=$?
[ -t 2 ] && [ "$last" -gt 0 ] && printf '\r\033[K' >&2
if [ "$code" -eq 0 ]; then
  [ $((SECONDS - start)) -lt 5 ] || printf '  built %s in %d s\n' "$name" "$((SECONDS - start))" >&2
  exit 0
fi

if grep -q 'no space left on device' "$log"; then
  die "the disk is full, so $name could not be built: free about 10 GB (the compiler's cache included), then run this again."
elif grep -qE 'cannot allocate memory|signal: killed' "$log"; then
  die "there was not enough memory to build $name: the providers' SDKs need about 6 GB; close other programs, then run this again."
elif grep -qE 'dial tcp|no such host|i/o timeout|connection refused|TLS handshake|module lookup disabled' "$log"; then
  die "the Go module proxy cannot be reached, so $name could not be built: connect this machine to the network (or set GOPROXY), then run this again. The whole output is in $log."
fi
cat "$log" >&2
die "$name did not build; the compiler's words are above."
