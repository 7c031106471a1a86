# SPDX-License-Identifier: MIT
#
# make test and make lab each work as the only command typed on a machine with Go, git and make:
# as root they install the Debian packages that are missing, otherwise they print the line to type.
# The steps that need more than a line are in scripts/.

GO ?= go
# Formatting and static analysis are cheap and come first; the race tests are last, so that their
# lines end the output.
TEST_STEPS = deps fmt vet staticcheck shellcheck single test-386 cross size fuzz renumber lab-seeds race
# What make lab has for its far router: our hub, or Kea with upstream wireguard-go.
R2 ?= hub
LAB_FLAGS = $(if $(filter kea,$(R2)),-kea)
# Inputs for each fuzz target in make test, and seconds in make soak.
FUZZ_RUNS ?= 3000
SOAK_EACH ?= 600
# The end-to-end tests of the userspace data plane.
USERSPACE = ^TestUserspace|^TestBulk$$
IMAGE_ARCH ?= $(shell $(GO) env GOARCH)

.NOTPARALLEL:
.PHONY: help build deps test lab lab-keep bench demo bench-start bench-hub size soak conformance image image-check clean \
	fmt vet staticcheck shellcheck test-386 fuzz cross renumber lab-seeds race

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

lab: deps ## show box and hub at work between two NATs, in namespaces; R2=kea for a hub of other programs
	@$(GO) run ./internal/netlab/labcmd $(LAB_FLAGS)
	@echo 'make lab-keep stays in the lab afterwards and takes commands for each node.'

lab-keep: deps ## the same, and stay in it afterwards
	@$(GO) run ./internal/netlab/labcmd -keep $(LAB_FLAGS)

test: $(TEST_STEPS) ## run every check and test

demo: build ## show the whole world in a browser; needs only Go
	@bin/oasis6 demo

build: ## the static binary for this machine, in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/oasis6 ./cmd/oasis6

bench: deps ## measure TCP through the box, userspace data plane beside the kernel's
	@$(GO) run ./bench/dataplane

bench-start: deps ## measure start to first RA and first echo reply, beside a hand-made stack
	@$(GO) run ./bench/start

bench-hub: deps ## measure a hub with 10,000 sites, and its renewals beside Kea
	@$(GO) run ./bench/hub

size: cross ## print stripped sizes, fail over the budget
	@scripts/size.sh

soak: deps ## a tunnel that is away for ten minutes, boxes of other processors, then every parser fuzzed for SOAK_EACH seconds
	@OASIS6_OUTAGE=10m $(GO) test -count=1 -timeout 30m -v -run 'TestOutageKeepsAddresses|TestUserspace/^OutageKeepsAddresses' ./internal/e2e
	@OASIS6_ELSEWHERE=all $(GO) test -count=1 -timeout 2h -parallel 2 -v -run 'TestUserspace/^Elsewhere' ./internal/e2e
	@scripts/fuzz.sh each "$(SOAK_EACH)"

conformance: ## write docs/conformance.md from docs/conformance/*.tsv and the tests
	@$(GO) run ./internal/house/conformance

image: ## the container image oasis6, by buildah, podman or docker; IMAGE_ARCH=arm64 for another
	@scripts/image.sh build "$(IMAGE_ARCH)"

image-check: ## build the image with buildah in a folder of its own and look into it
	@scripts/image.sh check "$(IMAGE_ARCH)"

clean: ## remove what was built
	rm -rf bin dist

deps: ## install the Debian packages that tests and lab need
	@scripts/deps.sh

fmt: ## check the format of the Go files
	@bad=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go' 2>/dev/null || echo .)); \
	if [ -n "$$bad" ]; then echo "not formatted, run gofmt -w on:" >&2; echo "$$bad" >&2; exit 1; fi

vet: ## run go vet, both builds
	$(GO) vet ./...
	$(GO) vet -tags small ./cmd/...

staticcheck: ## run staticcheck; exceptions with reasons in staticcheck.conf
	$(GO) tool staticcheck ./...

shellcheck: ## check the shell scripts
	@scripts/shellcheck.sh

# What has one goroutine: machines in virtual time, and tests about the tree. The race detector has nothing to find in them and
# takes four times as long.
SINGLE = internal/house internal/house/conformance ra dhcpv6 dhcpv6/client dhcpv6/server hub/pd tun/health

single: ## test what has one goroutine, without the race detector
	$(GO) test -count=1 -vet=off $(SINGLE:%=./%)

test-386: ## run the pure packages' tests as 32-bit programs
	@scripts/test-386.sh

cross: ## build for every board, into dist/
	@scripts/cross.sh

fuzz: ## fuzz every parser for a moment, FUZZ_RUNS inputs each
	@scripts/fuzz.sh runs "$(FUZZ_RUNS)"

renumber: ## renumber before model hosts, and crash a hub, a thousand times; the race detector sees fewer
	$(GO) test -count=1 -run 'Renumberings|CrashAtAThousandPoints' ./router ./hub

# Virtual time waits until the whole process is at rest, so each share of the scenarios is a process of its own: a world that is
# scanned takes ten times as long as most. What runs in real time, or measures, has the machine to itself: the race detector skips
# it.
lab-seeds: ## every scenario of the lab with a hundred seeds, and once on wireguard-go; what the demo costs
	$(GO) test -c -o bin/lab.test ./lab
	cd lab && OASIS6_SEEDS=30-100 ../bin/lab.test -test.timeout 15m -test.run 'DependOnTheSeedAlone/neighbour' & scan=$$!; \
	(cd lab && OASIS6_SEEDS=0-30 ../bin/lab.test -test.timeout 15m -test.run 'DependOnTheSeedAlone/neighbour' && \
	../bin/lab.test -test.timeout 15m -test.run 'DependOnTheSeedAlone' -test.skip 'DependOnTheSeedAlone/neighbour'); \
	rest=$$?; wait $$scan && exit $$rest
	cd lab && ../bin/lab.test -test.timeout 10m -test.run "ScenariosOnWireGuard|ScenariosAsNobody|CapturesOpenInWireshark|PageOfTheWorldOnWireGuard|RebootsLeaveNothing|TestLessons"
	$(GO) test -count=1 -timeout 5m -run StoryIsThatOfWireGuard ./lab/simwg
	$(GO) test -count=1 -timeout 5m -run DemoRunsAsNobody ./cmd/oasis6

# The end-to-end tests wait most of the time: begun first, the others run beside them. Those of the userspace data plane are a
# process of their own, without the race detector: their bodies are the same code, and the box is a program that each process
# builds for itself, which the test cache knows nothing of. What of the demo's page is the browser's comes after them. All
# namespaces of the machine share the kernel's neighbor table, of 1024 entries; a world has about thirty. The last test fills it
# to show what that does: so that test has it to itself. What is vetted has been vetted.
race: ## run all other tests with the race detector
	($(GO) test -count=1 -vet=off -timeout 25m -parallel 8 -run '$(USERSPACE)' ./internal/e2e && \
	$(GO) test -count=1 -vet=off -timeout 10m -run 'TestWorldIsLegible|TestWorldByKeysAlone' ./lab) & apart=$$!; \
	CGO_ENABLED=1 $(GO) test -race -count=1 -vet=off -timeout 25m -skip '$(USERSPACE)|TestFloodsFromTheLAN' \
	./internal/e2e $$($(GO) list ./... | grep -vxF $(SINGLE:%=-e oasis6/%)); \
	rest=$$?; wait $$apart && exit $$rest
	CGO_ENABLED=1 $(GO) test -race -count=1 -vet=off -timeout 5m -run TestFloodsFromTheLAN ./internal/e2e
