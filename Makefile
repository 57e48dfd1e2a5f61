# Two of these do all set-up themselves on a Debian that has only make and the Rust toolchain: `make demo`, `make test`.

CARGO ?= cargo
export CARGO

.PHONY: help build release demo test faults soak e2e packages e2e-systemd pages fuzz bench lint setup
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: setup ## the debug program, target/debug/kubecertd
	$(CARGO) build --locked

release: setup ## the release program, target/release/kubecertd
	$(CARGO) build --release --locked

demo: setup ## one renewal on a throw-away node with a real etcd (KEEP=1 keeps its directory)
	@packaging/demo/run.sh

# The fault injection, the soak and the end-to-end tests are not among them: they take minutes.
TESTS = --lib --bins $(patsubst tests/%.rs,--test %,$(wildcard tests/*.rs)) $(patsubst tests/%/main.rs,--test %,$(filter-out tests/faults/% tests/soak/% tests/e2e/% tests/systemd/% tests/pages/%,$(wildcard tests/*/main.rs)))

test: setup ## all tests but `make faults`, `make soak`, `make e2e`, `make e2e-systemd` and `make pages`, with cargo-nextest where it is installed
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then echo "$(CARGO) nextest run --locked --no-fail-fast"; $(CARGO) nextest run --locked --no-fail-fast; \
	else echo "$(CARGO) test --locked --no-fail-fast"; $(CARGO) test --locked --no-fail-fast $(TESTS); fi
	$(CARGO) test --locked --doc

RELEASE = $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/release/kubecertd

# KUBECERTD=PATH tries that program.
faults: $(if $(KUBECERTD),setup,release) ## kills and fails the release program at every system call, plays losses of power (some minutes)
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then KUBECERTD=$(or $(KUBECERTD),$(RELEASE)) $(CARGO) nextest run --locked --profile faults; \
	else KUBECERTD=$(or $(KUBECERTD),$(RELEASE)) $(CARGO) test --locked --test faults -- --test-threads=1 --nocapture; fi

# SOAK_SEED=N plays the same rounds again.
soak: setup ## control planes of three and five real etcd members, renewed while nodes are killed, frozen and cut off: SOAK_ROUNDS rounds (200)
	@packaging/setup.sh iproute2
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then SOAK_ROUNDS=$(or $(SOAK_ROUNDS),200) $(CARGO) nextest run --locked --profile soak; \
	else SOAK_ROUNDS=$(or $(SOAK_ROUNDS),200) $(CARGO) test --locked --test soak -- --test-threads=1 --nocapture; fi

# 77: they cannot be had on this system. The tests say so, and fail where CI is set.
e2e: setup ## renews on a real Kubernetes node (Debian 12; the first time builds Kubernetes, five minutes)
	@packaging/e2e/parts.sh || [ $$? -eq 77 ]
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) nextest run --locked --profile e2e; \
	else $(CARGO) test --locked --test e2e -- --test-threads=1 --nocapture; fi

packages: setup ## the deb and the rpm, in target/packages/out
	@packaging/package.sh

e2e-systemd: packages ## installs, runs, upgrades and removes the packages under a real systemd (Debian, booted in a container)
	@rm -rf target/packages/previous
	@PREVIOUS=0.0.9 packaging/package.sh $(CURDIR)/target/packages/previous
	@packaging/systemd/base.sh
	@packaging/setup.sh systemd-nspawn systemd-analyze rpm
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) nextest run --locked --profile systemd --test systemd; \
	else $(CARGO) test --locked --test systemd -- --test-threads=2 --nocapture; fi

pages: ## looks at the page of `report --html` in a headless Chromium; the pictures are in target/pages
	@packaging/setup.sh chromium fonts-dejavu-core html5lib pngtopnm
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) nextest run --locked --profile pages; \
	else $(CARGO) test --locked --test pages -- --test-threads=1 --nocapture; fi

fuzz: setup ## the fuzz targets, SECONDS each (60); needs cargo-fuzz, which it installs
	@fuzz/run $(or $(SECONDS),60)

bench: setup ## what kubecertd costs beside kubeadm and etcdctl, as a table (as root, some minutes; the first time builds kubeadm)
	@packaging/bench/table.sh

lint: ## formatting, clippy, rustdoc and shell scripts, as CI checks them
	@.ci/run format clippy rustdoc shellcheck

setup: ## installs the Debian packages that are missing (as root or with sudo)
	@packaging/setup.sh
