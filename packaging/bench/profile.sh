#!/bin/bash
# profile.sh: where the time of a look goes: the share of all instructions (valgrind's callgrind)
# that each function takes with what it calls, for a node of kubeadm and for the same node with
# PAIRS (1000) further pairs. It builds the release once more, with symbols: some minutes the first
# time.
set -euo pipefail
exec </dev/null

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$repository/target}/profile
pairs=${PAIRS:-1000}

"$repository/packaging/setup.sh" valgrind
(cd "$repository" && "${CARGO:-cargo}" build --release --locked --bin kubecertd --target-dir "$target" \
  --config profile.release.strip=false --config 'profile.release.debug="line-tables-only"')
work=$(mktemp -d "${TMPDIR:-/var/tmp}/kubecertd-profile.XXXXXXXX")
trap 'rm -rf "$work"' EXIT
# shellcheck source=/dev/null
. "$here/node.sh"

# shares TEXT ROOT
shares() {
  valgrind --tool=callgrind --callgrind-out-file="$work/out" "$target/release/kubecertd" --root "$2" check-expiration >/dev/null 2>"$work/said" ||
    { cat "$work/said" >&2; return 1; }
  callgrind_annotate --inclusive=yes --threshold=100 "$work/out" >"$work/table" 2>"$work/said"
  echo "$1: $(awk '/PROGRAM TOTALS/ { print $1 }' "$work/table") instructions"
  # One function has a line for each source file that was inlined into it: the first is the largest.
  sed -nE 's/^ *[0-9,]+ \( *([0-9.]+)%\) +[^ ]*\.(rs|c):(.*[^ ]) \[.*$/\1 \3/p' "$work/table" |
    grep -E '^[0-9.]+ (kubecertd::(format|host|inventory|scan|report)|yaml_|libyaml|aws_lc|pem::)' |
    awk '!seen[$2]++ && $1 >= 2 { printf "  %5.1f %%  %s\n", $1, $2 }' | head -n 30
}

node "$work/node"
shares "a node of kubeadm" "$work/node"
node "$work/many"
further "$work/many" 0 "$pairs"
shares "the same with $pairs further pairs" "$work/many"
