# Every target that people and scripts use. `make` alone explains them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

ROOT    := $(CURDIR)
BIN     := $(ROOT)/.bin
MODULES := stacks app infra

# Each module is built by its own go.mod, as Pulumi's Go host does, and always
# with the same flags: a mixed build cache would compile the providers' SDKs twice.
export GOWORK  := off
export GOFLAGS := -trimpath -buildvcs=false
export PATH    := $(BIN):$(PATH)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
CREATED ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
LINKED  := -ldflags "-X main.version=$(VERSION) -X main.commit=$(COMMIT)"

PULUMI_VERSION := $(shell awk '$$1 == "github.com/pulumi/pulumi/pkg/v3" { print $$2 }' infra/tools/pulumi/go.mod)
PROMETHEUS_VERSION := $(shell awk '$$1 == "github.com/prometheus/prometheus" { print $$2 }' infra/tools/prometheus/go.mod)
# Targets come from a file: every service discovery of a cloud is left out.
PROMETHEUS_TAGS := remove_all_sd
GENERATED      := Pulumi.yaml docs/settings.md docs/configuration.md infra/program/testdata
build_command  := infra/tools/build.sh

.PHONY: help up down run status build test test-short test-fdb e2e fuzz lint bench generate verify \
	preview rollout recover drill image verify-binary tools pulumi prometheus clean

help: ## explain the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

## ---- the environment on this machine

up: build pulumi ## bring the local environment up (the real program, no cloud), or heal it
	@coditect up --env local

down: build pulumi ## take it away again; KEEP_DATA=1 keeps its data for the next `make up`
	@coditect down --env local $(if $(filter-out 0,$(KEEP_DATA)),--keep-data)

status: build ## show what of it runs: pods, split, addresses
	@coditect status --env local

run: .api ## run the service alone on 127.0.0.1:8080, data in ./.data/run
	@mkdir -p .data/run
	@coditect-api keygen --if-missing .data/run/jwt-secret
	@CODITECT_MAIL=log CODITECT_STORE_DIR=.data/run/store CODITECT_JWT_SECRET_FILE=.data/run/jwt-secret CODITECT_DRAIN_PAUSE=0s exec coditect-api serve

preview: build pulumi ## show the plan of ENV=dev|staging|prod without credentials; AGAINST=REV shows what changed since
	@coditect preview --env "$(or $(ENV),dev)" $(if $(AGAINST),--against "$(AGAINST)")

## ---- building

build: .api .coditect ## build the service and the operator's command into .bin

# The go command knows better than make what is out of date.
.PHONY: .api .coditect
.api:
	@$(build_command) coditect-api app ./cmd/coditect-api "$(BIN)/coditect-api" $(LINKED)
.coditect:
	@$(build_command) coditect infra ./cmd/coditect "$(BIN)/coditect"

verify-binary: .verify-binary $(if $(BINARY),,.api) ## refuse a binary that is not this version of the service: BINARY=path, of `make build` unless told
	@verify-binary --version "$(VERSION)" --commit "$(COMMIT)" $(if $(ENGINES),--engines "$(ENGINES)") "$(or $(BINARY),$(BIN)/coditect-api)"

# The image's binary needs no library: it is all that the image holds.
IMAGE_DIR ?= $(ROOT)/.data/image
image: .verify-binary ## build the service's OCI image (embedded engine) without Docker and print its digest; PUSH=repository pushes it
	@CGO_ENABLED=0 $(build_command) coditect-api-static app ./cmd/coditect-api "$(IMAGE_DIR)/coditect-api" $(LINKED)
	@verify-binary --version "$(VERSION)" --commit "$(COMMIT)" "$(IMAGE_DIR)/coditect-api"
	@$(build_command) image infra ./cmd/image "$(BIN)/image"
	@image --binary "$(IMAGE_DIR)/coditect-api" --version "$(VERSION)" --commit "$(COMMIT)" --created "$(CREATED)" \
		--layout "$(IMAGE_DIR)/oci" $(if $(PUSH),--push "$(PUSH)")

.PHONY: .verify-binary
.verify-binary:
	@$(build_command) verify-binary app ./cmd/verify-binary "$(BIN)/verify-binary"

pulumi: ## build the pinned Pulumi command line into .bin, where the one on PATH is not that version
	@[ "$$(pulumi version 2>/dev/null)" = "$(PULUMI_VERSION)" ] || $(build_command) pulumi infra/tools/pulumi \
		github.com/pulumi/pulumi/pkg/v3/cmd/pulumi "$(BIN)/pulumi" \
		-ldflags "-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=$(PULUMI_VERSION)"

prometheus: ## build the pinned Prometheus into .bin, where none is on PATH
	@command -v prometheus >/dev/null || $(build_command) prometheus infra/tools/prometheus \
		github.com/prometheus/prometheus/cmd/prometheus "$(BIN)/prometheus" -tags "$(PROMETHEUS_TAGS)" \
		-ldflags "-X github.com/prometheus/common/version.Version=$(PROMETHEUS_VERSION)"

tools: ## build the pinned linters into .bin
	@[ "$(BIN)/golangci-lint" -nt infra/tools/lint/go.mod ] || $(build_command) golangci-lint infra/tools/lint \
		github.com/golangci/golangci-lint/v2/cmd/golangci-lint "$(BIN)/golangci-lint"

clean: ## remove what was built (not the data below .data)
	rm -rf "$(BIN)"

## ---- proving

test: build pulumi ## run every test, the whole environment through the real Pulumi engine included
	@infra/tools/test.sh

test-short: ## run the tests that need neither Pulumi nor minutes
	@SHORT=1 infra/tools/test.sh

test-fdb: ## run the suites against the FoundationDB cluster that FDB_CLUSTER_FILE names
	@infra/tools/test-fdb.sh

lint: tools ## hold the code to .golangci.yml, the layer rules included
	@for m in $(MODULES); do echo "lint $$m"; (cd $$m && golangci-lint run --allow-parallel-runners --config "$(ROOT)/.golangci.yml" ./...) || exit 1; done
	@echo "lint app, with FoundationDB"; cd app && "$(ROOT)/infra/tools/fdb-double.sh" golangci-lint run --allow-parallel-runners --config "$(ROOT)/.golangci.yml" \
		--build-tags fdb,fdbdouble ./internal/kv/... ./cmd/...

e2e: ## hold every environment against a real Kubernetes control plane and gateway (needs etcd); RUN=test runs one
	@infra/tools/e2e.sh

fuzz: ## run every fuzz target for FUZZTIME (60s) each
	@infra/tools/fuzz.sh $(or $(FUZZTIME),60s)

bench: build pulumi ## run the benchmarks that hold service and program to their ratios; fails where one is missed
	@infra/tools/bench.sh

generate: ## renew what is generated: golden plans, documentation tables
	@infra/tools/generate.sh

verify: generate lint ## what is generated is current, and lint is clean
	@changed=$$(git status --porcelain -- $(GENERATED)) && [ -z "$$changed" ] || \
		{ printf 'generated files differ: commit what `make generate` wrote\n%s\n' "$$changed" >&2; exit 1; }

## ---- what operators do, rehearsed on this machine

REHEARSED := $(ROOT)/.data/rehearsal/coditect-api
rollout: .bad build pulumi prometheus ## release another build in stages under load; BAD=errors|slow|crash releases a bad one, which goes back
	@mkdir -p "$(dir $(REHEARSED))"
	@$(build_command) coditect-api-rehearsal app ./cmd/coditect-api "$(REHEARSED)" $(if $(BAD),-tags rehearsal) \
		-ldflags "-X main.version=$(VERSION)-next -X main.commit=$(COMMIT) $(if $(BAD),-X coditect.ai/platform/app/internal/httpapi.rehearsed=$(BAD))"
	@coditect rollout rehearse --binary "$(REHEARSED)" $(if $(BAD),--bad "$(BAD)")
.PHONY: .bad
.bad:
	@case "$(BAD)" in ""|errors|slow|crash) ;; *) echo "make rollout: BAD is errors, slow or crash, not $(BAD)." >&2; exit 2;; esac
recover: build pulumi ## rebuild the lost local environment from a backup; FROM=latest|ID|TIME
	@coditect recover --env local $(if $(FROM),--from $(FROM))
drill: build pulumi ## lose a scratch environment under load, rebuild it and measure; the same command goes on
	@coditect drill --env local
