#!/bin/bash
# reproducible.sh: builds the packages a second time, from nothing, and compares the bytes with
# those of `make packages` in this tree. The second build has another directory, another home of
# cargo, another time zone and another umask. A release build takes minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
if [ -n "$(git status --porcelain)" ]; then
  echo "reproducible: only what is committed is built twice: git status" >&2
  exit 1
fi
packaging/package.sh
work=$(mktemp -d "${TMPDIR:-/tmp}/kubecertd-reproducible-XXXXXX")
trap 'rm -rf "$work"' EXIT
again=$work/a-directory-whose-name-has-another-length
git clone --quiet . "$again"
# The second build takes the program that writes the manual pages from the first: it is a tool, too.
ln -s "${CARGO_HOME:-$HOME/.cargo}" "$work/cargo"
(
  umask 077
  env -u CARGO_TARGET_DIR CARGO_HOME="$work/cargo" TZ=Pacific/Auckland DOCS="${CARGO_TARGET_DIR:-$PWD/target}/debug/examples/docs" \
    "$again/packaging/package.sh" "$work/out"
)
diff -r target/packages/out "$work/out"
echo "reproducible: both builds gave the same bytes"
