# Coffer. `make` lists the targets.
SHELL := /bin/bash
export CGO_ENABLED := 0

TESTS   ?= ./...
RACE    ?= ./app/... ./audit/... ./vault/... ./tenants/...
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -buildid= -X coffer/app.release=$(VERSION)

# The same bytes come out wherever the Go release is the same: no paths, no
# state of a checkout, and no settings of whoever builds.
GOBUILD := GOFLAGS= GOEXPERIMENT= GOAMD64=v1 GOARM64=v8.0 go build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)"

IMAGE   ?= coffer
ARCHES  ?= amd64 arm64

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.PHONY: build
build: ## build bin/coffer
	$(GOBUILD) -o bin/coffer .

.PHONY: binaries
binaries: ## build what goes into the image, the same bytes on every machine: dist/image/ARCH (ARCHES="amd64 arm64")
	@set -e; for arch in $(ARCHES); do out=dist/image/$$arch; \
	  echo "$$out/coffer"; GOOS=linux GOARCH=$$arch $(GOBUILD) -o $$out/coffer .; chmod 0755 $$out/coffer; \
	  install -d -m 0755 $$out/own; install -d -m 0700 $$out/own/data; done

.PHONY: image
image: binaries ## build the image without a network, with docker, podman or buildah (IMAGE=coffer, BUILDER=)
	@packaging/image.sh "$(IMAGE)" "$(VERSION)" $(ARCHES)

.PHONY: demo
demo: build ## watch the main job on an empty directory, then serve it (ARGS=--once ends after the walk)
	@dir=$$(mktemp -d /tmp/coffer-demo.XXXXXX) && trap 'rm -rf "$$dir"' EXIT && \
	bin/coffer serve --data "$$dir/data" --demo $(ARGS)

.PHONY: deps
deps: ## install what the tests drive (swtpm, chromium, buildah, podman) and what -race needs (gcc), if missing
	@packaging/deps.sh

.PHONY: test
test: deps vet ## run every test, with the race detector where there is concurrency, and a short fuzzing of every decoder
	go test -timeout 20m $$(go list $(TESTS) | grep -v '^coffer/packaging')
	@# The images run on a network of their own. A browser ends its requests when one
	@# comes and goes, so this is not for the time in which the pages are tested.
	@go test -timeout 20m ./packaging/... & images=$$!; \
	  echo "go test -race"; CGO_ENABLED=1 COFFER_CRASH_ROUNDS=10 go test -race -short -timeout 20m $(RACE); raced=$$?; \
	  wait $$images && exit $$raced
	packaging/fuzz.sh 1s

.PHONY: interop
interop: ## drive a running Coffer over TLS with other people's clients (installs Node.js and Python if missing)
	@packaging/deps.sh nodejs npm python3
	cd packaging/interop/js && npm ci --no-progress
	cd packaging/interop && go vet ./... && CGO_ENABLED=1 go test -count=1 -v -timeout 20m ./...

.PHONY: vet
vet: ## gofmt and go vet
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	go vet ./...

.PHONY: lint
lint: vet ## gofumpt and staticcheck (built from the module proxy, a minute the first time)
	@test -z "$$(go run mvdan.cc/gofumpt@v0.12.0 -l .)" || { echo "gofumpt would change:"; go run mvdan.cc/gofumpt@v0.12.0 -l .; exit 1; }
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

.PHONY: fuzz
fuzz: ## fuzz every decoder for T each (T=1m)
	packaging/fuzz.sh $(or $(T),1m)

.PHONY: bench
bench: ## measure; docs/performance.md says what was found
	go test -run '^$$' -bench . -benchtime $(or $(T),1s) $(or $(BENCH),./...)

.PHONY: bench-postgres
bench-postgres: build ## give the same work to Coffer and to PostgreSQL (installs it if missing; ARGS=-help)
	@packaging/deps.sh postgresql
	cd packaging/bench && go vet ./... && go run . -coffer $(CURDIR)/bin/coffer $(ARGS)

.PHONY: soak
soak: deps ## the crash test with 2,000 kills, and long fuzzing
	COFFER_CRASH_ROUNDS=2000 go test -run 'NothingAck|CreateIsAll|CopyWhile|MigrationsSurvive' -timeout 2h ./app
	packaging/fuzz.sh 5m

.PHONY: e2e
e2e: deps ## drive the pages in Chromium (E2E=NAME for one test)
	go test -count=1 -timeout 9m $(if $(E2E),-run '$(E2E)') ./ui/e2e

.PHONY: screens
screens: deps ## write the pictures of docs/screens again
	go test -count=1 -timeout 9m -run 'TestEveryPage' ./ui/e2e -screens $(CURDIR)/docs/screens

.PHONY: assets
assets: ## write the committed bundles of ui/assets/dist again (needs npm; nothing else does)
	cd ui/assets/build && npm ci --no-fund --no-audit && go run .

.PHONY: docs
docs: ## write the generated documents again
	go test ./app ./app/api -run "TestActionsDocument$$|TestDocument$$" -update
