# Two of these do all set-up themselves on a Debian that has only make and the Rust toolchain: `make demo`, `make test`.

CARGO ?= cargo
export CARGO

.PHONY: help build release demo test faults lint setup
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: setup ## the debug program, target/debug/kubecertd
	$(CARGO) build --locked

release: setup ## the release program, target/release/kubecertd
	$(CARGO) build --release --locked

demo: setup ## one renewal on a throw-away node with a real etcd (KEEP=1 keeps its folder)
	@packaging/demo/run.sh

test: setup ## all tests, with cargo-nextest where it is installed
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then echo "$(CARGO) nextest run --locked"; $(CARGO) nextest run --locked; \
	else echo "$(CARGO) test --locked --lib --bins --tests"; $(CARGO) test --locked --lib --bins --tests; fi
	$(CARGO) test --locked --doc

faults: setup ## the tests that kill and fail the program at every step (needs cargo-nextest)
	$(CARGO) nextest run --locked --profile faults

lint: ## formatting, clippy, rustdoc and shell scripts, as CI checks them
	@.ci/run format clippy rustdoc shellcheck

setup: ## installs the Debian packages that are missing (as root or with sudo)
	@packaging/setup.sh
