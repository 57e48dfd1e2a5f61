# A Debian that has make and the Rust toolchain is enough: every target installs what it lacks.

CARGO ?= cargo
export CARGO

.PHONY: help build release demo test faults soak e2e packages e2e-systemd pages pictures fuzz bench lint setup
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: setup ## the debug program, target/debug/kubecertd
	$(CARGO) build --locked

release: setup ## the release program, target/release/kubecertd
	$(CARGO) build --release --locked

demo: setup ## one renewal on a throw-away node with a real etcd (KEEP=1 keeps its directory)
	@packaging/demo/run.sh

# These suites take minutes, or need what few machines have. Each has a target of its own.
LONG = faults soak e2e systemd pages
SUITES = $(basename $(notdir $(wildcard tests/*.rs))) $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs))
SHORT = $(filter-out $(LONG),$(SUITES))

# $(call suite,NAME,THREADS) runs one of the long suites and shows what its tests print.
define suite
$(CARGO) test --locked --test $(1) -- --test-threads=$(2) --nocapture
endef

test: setup ## all tests but those of the next five targets
	$(CARGO) test --locked --no-fail-fast --lib --bins $(addprefix --test ,$(SHORT))
	$(CARGO) test --locked --doc

RELEASE = $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/release/kubecertd

# KUBECERTD=PATH tries that program.
faults: $(if $(KUBECERTD),setup,release) ## kills, failing calls and losses of power at every step of the release program
	KUBECERTD=$(or $(KUBECERTD),$(RELEASE)) $(call suite,faults,1)

# SOAK_SEED=N plays the same rounds again.
soak: setup ## SOAK_ROUNDS (200) rounds of three and five etcd members that are killed, frozen and cut off
	@packaging/setup.sh iproute2
	SOAK_ROUNDS=$(or $(SOAK_ROUNDS),200) $(call suite,soak,1)

# Exit code 77: this system cannot have the parts. The tests say so, and fail if CI is set.
e2e: setup ## renews on a real Kubernetes node (Debian 12; the first time builds Kubernetes, five minutes)
	@packaging/e2e/parts.sh || [ $$? -eq 77 ]
	$(call suite,e2e,1)

e2e-systemd: packages ## installs, runs, upgrades and removes the packages under a real systemd, in a container
	@rm -rf target/packages/previous
	@PREVIOUS=0.0.9 packaging/package.sh $(CURDIR)/target/packages/previous
	@packaging/systemd/base.sh
	@packaging/setup.sh systemd-nspawn systemd-analyze rpm
	$(call suite,systemd,2)

pages: ## draws the page of `report --html` in a headless Chromium; the pictures are in target/pages
	@packaging/setup.sh chromium fonts-dejavu-core html5lib pngtopnm
	$(call suite,pages,1)

packages: setup ## the deb and the rpm, in target/packages/out
	@packaging/package.sh

pictures: setup ## the pictures of the README, from a real run: docs/images (as root)
	@packaging/setup.sh chromium fonts-dejavu-core pngtopnm python3
	@packaging/demo/pictures.sh

fuzz: setup ## the fuzz targets, SECONDS each (60); needs cargo-fuzz, which it installs
	@fuzz/run $(or $(SECONDS),60)

bench: setup ## a table of costs next to kubeadm and etcdctl (as root, some minutes; the first time builds kubeadm)
	@packaging/bench/table.sh

lint: ## formatting, clippy, rustdoc, shell scripts, commits and words, as CI checks them
	@.ci/run format clippy rustdoc shellcheck commits words

setup: ## installs the Debian packages that are missing (as root or with sudo)
	@packaging/setup.sh
