#!/bin/bash
# lint.sh [DIRECTORY]: what the distributions' own tools say of the packages in DIRECTORY
# (target/packages/out). Every exception stands, with its reason, in deb/lintian-overrides or
# rpm/rpmlint.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-target/packages/out}
packaging/setup.sh lintian rpm rpmlint
lintian --allow-root --fail-on error,warning "$out"/*.deb
rpmlint --config packaging/rpm/rpmlint.toml --strict "$out"/*.rpm
for page in kubecertd.8 kubecertd.toml.5; do
  warnings=$(LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z "target/packages/docs/$page" 2>&1 >/dev/null)
  [ -z "$warnings" ] || { echo "$page: $warnings"; exit 1; }
done
