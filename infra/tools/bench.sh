#!/usr/bin/env bash
# The benchmarks that hold the service to its ratios, each a comparison within
# one run over loopback; a missed one fails. A quiet machine makes them mean more.
set -euo pipefail
cd "$(dirname "$0")/../../app"
export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" GOTOOLCHAIN=local

# BenchmarkScale fills stores with up to a million sessions: minutes, and 2 GB below TMPDIR. SCALE=100000 is quicker.
go test -run '^$' -bench . -benchtime 1x -timeout 60m ./cmd/coditect-api ./internal/store

# Known and unknown addresses must take the same time: about a minute.
MEASURE_TIMING=1 go test -run TestTimingTellsNoAddresses -v ./internal/auth
