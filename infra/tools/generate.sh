#!/usr/bin/env bash
# Renews what is generated from the code and kept in git, so that a review sees
# what a change does to the plans and to the documented settings.
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOWORK=off GOFLAGS="-trimpath -buildvcs=false" GOTOOLCHAIN=local

for module in stacks app infra; do
  (cd "$module" && go generate ./...)
done
