#!/bin/bash
# reproducible.sh: builds the packages twice, each time from nothing, in two folders of different names, and compares the bytes. Twice a release
# build: minutes. Only what is committed takes part.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
work=$(mktemp -d "${TMPDIR:-/tmp}/kubecertd-reproducible-XXXXXX")
trap 'rm -rf "$work"' EXIT
for name in one two-of-another-length; do
  git clone --quiet . "$work/$name"
  mkdir -p "$work/$name/target/packages"
  # The packagers are tools, not what is packed.
  if [ -d target/packages/tools ]; then cp -a target/packages/tools "$work/$name/target/packages/"; fi
  env -u CARGO_TARGET_DIR "$work/$name/packaging/package.sh" "$work/out-$name"
done
diff -r "$work/out-one" "$work/out-two-of-another-length"
echo "reproducible: both builds gave the same bytes"
