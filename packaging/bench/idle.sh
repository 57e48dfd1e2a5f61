#!/bin/bash
# idle.sh [MINUTES]: what the daemon costs while nothing is due: memory and CPU over MINUTES (10),
# size of the program and of the deb. Prints each figure with its limit; exit code 1 when one is
# above it.
#
# Measures what `make packages` built, on a node made from a fixture tree, with no systemd: from
# /proc, so that the figure is the process's own.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec </dev/null

minutes=${1:-10}
program=target/packages/root/deb/usr/bin/kubecertd
deb=(target/packages/out/*.deb)
if [ ! -x "$program" ] || [ ! -f "${deb[0]}" ]; then
  echo "idle: no packages. hint: make packages" >&2
  exit 1
fi

node=$(mktemp -d "${TMPDIR:-/tmp}/kubecertd-idle-XXXXXX")
daemon=
trap '[ -z "$daemon" ] || kill "$daemon"; wait; rm -rf "$node"' EXIT
cp -a tests/fixtures/kubeadm-1.36-rsa2048/. "$node"
find "$node/etc/kubernetes" -type f \( -name '*.key' -o -name '*.conf' -o -name '*.yaml' \) -exec chmod 0600 {} +
chown -R 0:0 "$node"

# shellcheck disable=SC2034 # for what is sourced
repository=$PWD
# shellcheck source=/dev/null
. packaging/bench/node.sh
start "$program" "$node" "$node/log"

# Ticks of user and system time, fields 14 and 15 of proc_pid_stat(5); the name in brackets holds no
# blank.
ticks() {
  awk '{ print $14 + $15 }' "/proc/$daemon/stat"
}

begin=$(ticks)
sleep $((minutes * 60))
used=$(($(ticks) - begin))
kib=$(awk '/^VmRSS:/ { print $2 }' "/proc/$daemon/status")

failed=0
# figure NAME VALUE LIMIT UNIT
figure() {
  printf '%-24s %8.3f %s (at most %s)\n' "$1" "$2" "$4" "$3"
  awk -v value="$2" -v limit="$3" 'BEGIN { exit !(value <= limit) }' || failed=1
}
echo "idle for $minutes minutes:"
figure "resident memory" "$(awk -v kib="$kib" 'BEGIN { print kib / 1024 }')" 10 MiB
figure "of a core" "$(awk -v t="$used" -v hz="$(getconf CLK_TCK)" -v m="$minutes" 'BEGIN { print 100 * t / hz / (60 * m) }')" 0.1 %
figure "program" "$(awk -v b="$(stat -c %s "$program")" 'BEGIN { print b / 1048576 }')" 9 MiB
figure "deb" "$(awk -v b="$(stat -c %s "${deb[0]}")" 'BEGIN { print b / 1048576 }')" 4 MiB
exit "$failed"
