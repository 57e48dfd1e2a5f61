#!/bin/bash
# cargo-tool.sh TOOL...: installs tools of cargo in their pinned versions, if they are missing.
#
# cargo installs them where it looks for its commands, so that the next checkout has them too. They
# run for seconds: a build without optimization takes less time than they would save.
set -euo pipefail

# Each pin is raised on purpose: a new release is tried before this repository relies on it.
declare -A versions=(
  [cargo-deny]=0.20.2
  [cargo-deb]=3.8.0
  [cargo-generate-rpm]=0.21.1
)

installed=$("${CARGO:-cargo}" install --list)
for tool in "$@"; do
  version=${versions[$tool]:-}
  [ -n "$version" ] || { echo "cargo-tool: unknown tool: $tool" >&2; exit 2; }
  if grep -qxF "$tool v$version:" <<<"$installed"; then
    continue
  fi
  echo "cargo-tool: building $tool $version"
  begin=$SECONDS
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    timeout 30m "${CARGO:-cargo}" install --locked --quiet --force "$tool@$version"
  echo "cargo-tool: $tool $version: $((SECONDS - begin)) s"
done
