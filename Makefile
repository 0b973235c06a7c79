# What a developer and CI run. `make` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
# The Go of go.mod, which is fetched like a module where another is installed: an older one has known vulnerabilities.
export GOTOOLCHAIN := auto
BIN := $(CURDIR)/bin
RESULTS := $(CURDIR)/results

# What `zot --version` says. A clone without tags has its commit, a source archive nothing.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# Tools are pinned here (dynalite in test/s3/dynalite, notation in test/e2e/notation, too) and built into bin/. As `tool` lines in go.mod they would add hundreds of modules to ours.
GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0
VULNDB_VERSION := v0.0.0-20261105234957-e22db6528018
CONFORMANCE_VERSION := v0.0.0-20260831232431-97274622c111
CRANE_VERSION := v0.22.1
COSIGN_VERSION := v3.1.3
NOTATION_VERSION := v1.3.2
DISTRIBUTION_VERSION := v3.1.2
VERSITYGW_VERSION := v1.8.0
DYNALITE_VERSION := v4.0.0

# Each fuzz target runs so long; each bout of faults so long; so many random commands are compared with the model. The time limit
# of tests is there for those that hang: it is nine times what the slowest package takes on two cores.
FUZZTIME ?= 5s
MODEL_COMMANDS ?= 50000
CHAOS_DURATION ?= 5m
TEST_TIMEOUT ?= 60m

# Each step of a write is crashed so often; under load the power is cut so often, and a tenth of that and
# less while nodes form a cluster, install a snapshot or join.
CRASH_SEEDS ?= 100
POWER_CUTS ?= 200

# Packages whose tests need nothing but Go and git. The others have targets of their own.
APART := ^$(shell $(GO) list -m)/test/(arch|chaos|conformance|crash|e2e|examples|gcrace|kill|loss|model|modelfsm|s3|transfer)(/|$$)
UNITS = $(shell $(GO) list ./... | grep -vE '$(APART)')

# What of these needs no more either: their own parts, which -short runs alone.
PARTS := ./test/kill ./test/gcrace ./test/e2e/...

# fetch does what needs the network, which has its moments: up to three times.
fetch = echo "$(1)"; for left in 2 1 0; do if $(1); then break; fi; ((left > 0)) || exit 1; echo "once more in a moment" >&2; sleep 10; done

##@ Build

.PHONY: build
build: ## build bin/zot
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/zot ./cmd/zot

.PHONY: run
run: build ## build, then start three nodes on this machine
	exec deploy/local/run.sh

.PHONY: modules
modules: ## fetch the Go modules that the code and its tests need
	@$(call fetch,$(GO) mod download)

##@ Test

.PHONY: test
test: ## run the tests that need only Go and git
	$(GO) test -timeout $(TEST_TIMEOUT) $(UNITS)
	$(GO) test -short $(PARTS)

.PHONY: race
race: ## run the same tests under the race detector
	ZOT_MODEL_COMMANDS=$(MODEL_COMMANDS) $(GO) test -race -timeout $(TEST_TIMEOUT) $(UNITS)
	$(GO) test -race -short $(PARTS)

.PHONY: arch
arch: ## check that each room imports only what the plan draws
	$(GO) test ./test/arch

.PHONY: model
model: ## check the life of a blob: every state of small worlds, every rule taken away, and the real commands step by step
	$(GO) test -timeout $(TEST_TIMEOUT) ./test/model ./test/modelfsm

# golang/go#75804: at its end the time of a target that is well may count as a failure. Then it is fuzzed again, and that may
# meet it again.
.PHONY: fuzz
fuzz: ## fuzz each target for FUZZTIME (5s)
	@said=$$(mktemp); trap 'rm -f "$$said"' EXIT; \
	fuzz() { $(GO) test -run '^$$' -fuzz "^$$2\$$" -fuzztime $(FUZZTIME) $$1 | tee "$$said"; }; \
	ended() { grep -q '^    context deadline exceeded$$' "$$said" && ! grep -q 'Failing input' "$$said"; }; \
	for package in $$($(GO) list ./...); do \
		targets=$$($(GO) test -list '^Fuzz' $$package); \
		for target in $$(grep '^Fuzz' <<<"$$targets" || true); do \
			echo "$$package $$target"; \
			for left in 4 3 2 1 0; do \
				if fuzz $$package $$target; then break; fi; \
				((left > 0)) && ended || exit 1; \
			done; \
		done; \
	done

.PHONY: conformance
conformance: build $(BIN)/conformance-$(CONFORMANCE_VERSION) $(BIN)/versitygw-$(VERSITYGW_VERSION) ## run the distribution specification's own program against one node, and three behind HAProxy, on disks and on a bucket
	ZOT=$(BIN)/zot CONFORMANCE=$(BIN)/conformance-$(CONFORMANCE_VERSION) VERSITYGW=$(BIN)/versitygw-$(VERSITYGW_VERSION) RESULTS=$(RESULTS) $(GO) test -count 1 -timeout $(TEST_TIMEOUT) ./test/conformance

.PHONY: e2e-deps
e2e-deps: $(BIN)/crane-$(CRANE_VERSION) ## install what e2e needs: haproxy, skopeo, OpenLDAP, containerd and the Docker engine with apt, crane with Go
	@test/e2e/deps.sh install

.PHONY: e2e
e2e: ## push, sign and pull with the Docker engine, containerd, skopeo, crane, cosign and notation, at three nodes behind HAProxy and in containers
	@test/e2e/deps.sh check
	@$(MAKE) build $(BIN)/crane-$(CRANE_VERSION) $(BIN)/cosign-$(COSIGN_VERSION) $(BIN)/notation-$(NOTATION_VERSION)
	ZOT=$(BIN)/zot CRANE=$(BIN)/crane-$(CRANE_VERSION) COSIGN=$(BIN)/cosign-$(COSIGN_VERSION) NOTATION=$(BIN)/notation-$(NOTATION_VERSION) RESULTS=$(RESULTS) $(GO) test -v -count 1 -timeout $(TEST_TIMEOUT) ./test/e2e/...

.PHONY: crash
crash: build ## crash each write of ours at each of its steps, and cut the power of whole nodes (needs root)
	@mkdir -p $(RESULTS)
	$(GO) test -v -count 1 -timeout $(TEST_TIMEOUT) -run '^TestCrash' ./fsm ./cluster -args -crash-seeds $(CRASH_SEEDS) | tee $(RESULTS)/crash.txt
	ZOT=$(BIN)/zot POWER_CUTS=$(POWER_CUTS) $(GO) test -v -count 1 -timeout $(TEST_TIMEOUT) ./test/crash/... | tee -a $(RESULTS)/crash.txt
	@awk '/[0-9] crash points/ {match($$0, /[0-9]+ crash points/); n += substr($$0, RSTART)} \
		END {print n " crash points in all"; exit n < 10000}' $(RESULTS)/crash.txt

.PHONY: chaos
chaos: ## kill, pause and part the nodes for CHAOS_DURATION (5m), and check the history
	CHAOS_DURATION=$(CHAOS_DURATION) $(GO) test -race -timeout 90m -v ./test/chaos/...

.PHONY: kill
kill: build $(BIN)/versitygw-$(VERSITYGW_VERSION) ## kill and stop nodes while clients push and pull, KILL_RUNS times on three nodes and on five, once over a bucket
	ZOT=$(BIN)/zot VERSITYGW=$(BIN)/versitygw-$(VERSITYGW_VERSION) KILL_OUT=$(RESULTS)/kill $(GO) test -count 1 -timeout 90m -v ./test/kill

.PHONY: gcrace
gcrace: build $(BIN)/versitygw-$(VERSITYGW_VERSION) ## collect garbage while clients push and delete and the leader is killed, for GCRACE_DURATION (2m), on disks and on a bucket
	ZOT=$(BIN)/zot VERSITYGW=$(BIN)/versitygw-$(VERSITYGW_VERSION) GCRACE_OUT=$(RESULTS)/gcrace $(GO) test -count 1 -timeout 3h -v ./test/gcrace

.PHONY: loss
loss: build ## have nodes lose their disks, leave, join, be emptied and be unmounted; LOSS_AWAY=1 stay away for ten minutes, too
	ZOT=$(BIN)/zot RESULTS=$(RESULTS) $(GO) test -v -count 1 -timeout 2h ./test/loss

.PHONY: s3
s3: build $(BIN)/versitygw-$(VERSITYGW_VERSION) $(BIN)/dynalite-$(DYNALITE_VERSION) ## hold the store in a bucket against an S3 and a DynamoDB server, and send S3_UPLOAD_GIB (6) through it; S3_SPEED_MIB=1024 measures, too
	ZOT=$(BIN)/zot VERSITYGW=$(BIN)/versitygw-$(VERSITYGW_VERSION) DYNALITE=$(BIN)/dynalite-$(DYNALITE_VERSION) RESULTS=$(RESULTS) $(GO) test -v -count 1 -timeout $(TEST_TIMEOUT) ./test/s3

.PHONY: examples
examples: build $(BIN)/versitygw-$(VERSITYGW_VERSION) $(BIN)/dynalite-$(DYNALITE_VERSION) ## serve each of zot's example files, with OpenLDAP, S3 and DynamoDB servers; e2e-deps installs what it needs
	ZOT=$(BIN)/zot VERSITYGW=$(BIN)/versitygw-$(VERSITYGW_VERSION) DYNALITE=$(BIN)/dynalite-$(DYNALITE_VERSION) RESULTS=$(RESULTS) $(GO) test -v -count 1 -timeout $(TEST_TIMEOUT) ./test/examples

.PHONY: transfer
transfer: build $(BIN)/versitygw-$(VERSITYGW_VERSION) $(BIN)/distribution-$(DISTRIBUTION_VERSION) ## import from a zot's directory, a bucket and CNCF distribution, and export
	ZOT=$(BIN)/zot VERSITYGW=$(BIN)/versitygw-$(VERSITYGW_VERSION) DISTRIBUTION=$(BIN)/distribution-$(DISTRIBUTION_VERSION) RESULTS=$(RESULTS) $(GO) test -v -count 1 -timeout $(TEST_TIMEOUT) ./test/transfer

.PHONY: bench
bench: build ## run the benchmarks
	ZOT=$(BIN)/zot $(GO) test -run '^$$' -bench . -benchmem $(UNITS)

.PHONY: speed
speed: build $(BIN)/distribution-$(DISTRIBUTION_VERSION) ## compare one node and three with CNCF distribution; SPEED="-only 'GET 1' -rounds 3" for less
	@mkdir -p $(RESULTS)
	$(GO) run ./test/speed -zot $(BIN)/zot -distribution $(BIN)/distribution-$(DISTRIBUTION_VERSION) -three $(SPEED) | tee $(RESULTS)/speed.txt

.PHONY: cover
cover: ## measure what the tests cover, into results/
	@mkdir -p $(RESULTS)
	$(GO) test -timeout $(TEST_TIMEOUT) -coverpkg=./... -coverprofile=$(RESULTS)/cover.out $(UNITS)
	$(GO) tool cover -html=$(RESULTS)/cover.out -o $(RESULTS)/cover.html
	$(GO) tool cover -func=$(RESULTS)/cover.out | tail -n 1

##@ Read

.PHONY: fmt
fmt: $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## format the code
	$< fmt ./...

.PHONY: fmt-check
fmt-check: $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## check that fmt would change nothing
	$< fmt --diff ./...

.PHONY: lint
lint: $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## run the linters of .golangci.yml
	$< run ./...

# The database of known vulnerabilities, as of its pin: a check that asked for the newest would fail on its own some day, and without
# a network. Pin a newer one with each release. What is known today: make vuln VULNDB=https://vuln.go.dev
VULNDB ?= file://$(BIN)/vulndb-$(VULNDB_VERSION)

.PHONY: vuln
vuln: $(BIN)/govulncheck-$(GOVULNCHECK_VERSION) $(BIN)/vulndb-$(VULNDB_VERSION) ## look for known vulnerabilities
	$< -db $(VULNDB) ./...

##@ All

.PHONY: verify
verify: fmt-check lint build arch vuln race fuzz model conformance crash chaos kill gcrace loss s3 examples transfer ## run what CI runs, but for make test and make e2e

.PHONY: clean
clean: ## remove what was built and what tests left; tools stay
	rm -rf $(BIN)/zot $(RESULTS) .local

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The version is in the name, so that a new pin builds a new tool.
$(BIN)/golangci-lint-%:
	@$(call fetch,GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$*)
	mv $(BIN)/golangci-lint $@

$(BIN)/conformance-%:
	@$(call fetch,GOBIN=$(BIN) $(GO) install github.com/opencontainers/distribution-spec/conformance@$*)
	mv $(BIN)/conformance $@

$(BIN)/distribution-%:
	@$(call fetch,GOBIN=$(BIN) $(GO) install github.com/distribution/distribution/v3/cmd/registry@$*)
	mv $(BIN)/registry $@

$(BIN)/crane-%:
	@$(call fetch,GOBIN=$(BIN) $(GO) install github.com/google/go-containerregistry/cmd/crane@$*)
	mv $(BIN)/crane $@

$(BIN)/cosign-%:
	@$(call fetch,CGO_ENABLED=0 GOBIN=$(BIN) $(GO) install github.com/sigstore/cosign/v3/cmd/cosign@$*)
	mv $(BIN)/cosign $@

$(BIN)/notation-%: test/e2e/notation/go.mod test/e2e/notation/go.sum
	@$(call fetch,$(GO) -C test/e2e/notation mod download)
	cd test/e2e/notation && CGO_ENABLED=0 $(GO) build -trimpath -o $@ github.com/notaryproject/notation/cmd/notation

$(BIN)/versitygw-%:
	@$(call fetch,GOBIN=$(BIN) $(GO) install github.com/versity/versitygw/cmd/versitygw@$*)
	mv $(BIN)/versitygw $@

# Its lock file has the sums of all that it is made of. Nothing of it is run while it is installed.
$(BIN)/dynalite-$(DYNALITE_VERSION): test/s3/dynalite/package.json test/s3/dynalite/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: the DynamoDB server of the tests needs it; make e2e-deps installs it" >&2; exit 1; }
	rm -rf $@ $@.new
	mkdir -p $@.new
	cp $^ $@.new
	@$(call fetch,npm ci --prefix $@.new --ignore-scripts --no-audit --no-fund)
	mv $@.new $@

$(BIN)/govulncheck-%:
	@$(call fetch,GOBIN=$(BIN) $(GO) install golang.org/x/vuln/cmd/govulncheck@$*)
	mv $(BIN)/govulncheck $@

# The module has the database's entries, and the program that makes of them what govulncheck reads.
$(BIN)/vulndb-%:
	@$(call fetch,GOBIN=$(BIN) $(GO) install golang.org/x/vulndb/cmd/indexdb@$*)
	rm -rf $@ $@.new
	$(BIN)/indexdb -vulns "$$($(GO) env GOMODCACHE)/golang.org/x/vulndb@$*/data/osv" -out $@.new
	rm $(BIN)/indexdb
	mv $@.new $@
