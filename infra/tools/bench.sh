#!/usr/bin/env bash
# The benchmarks that hold service and program to their ratios, each a comparison
# within one run over loopback; a missed one fails. A quiet machine makes them mean more.
set -euo pipefail
cd "$(dirname "$0")/../../app"
export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" GOTOOLCHAIN=local

# BenchmarkScale fills stores with up to a million sessions: minutes, and 2 GB below TMPDIR. SCALE=100000 is quicker.
go test -run '^$' -bench . -benchtime 1x -timeout 60m ./cmd/coditect-api ./internal/store

# Known and unknown addresses must take the same time: about a minute.
MEASURE_TIMING=1 go test -run TestTimingTellsNoAddresses -v ./internal/auth

# Resources and the engine's time of each environment: a minute. A command line of Pulumi is on PATH (`make bench` sees to that).
cd ../infra
go test -run '^$' -bench Engine -benchtime 1x -timeout 30m ./lifecycle
