#!/bin/bash
# table.sh: what kubecertd costs, as one table in Markdown: each ratio from pairs of runs in turns
# (A B A B), medians.
#
# PAIRS is the number of pairs (30), SIZE the etcd database in MiB for the snapshot (1024; 0 leaves
# it out), KUBECERTD and KEYS the programs (built when they are not set). kubeadm v1.20.2 is built
# by packaging/e2e/parts.sh the first time, where that can be done. A row that could not be measured
# says why. Exit code 1 when a figure is above its bound. As root; about ten minutes.
set -euo pipefail
exec 3>&1 1>&2 </dev/null

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$repository/target}
pairs=${PAIRS:-30}
size=${SIZE:-1024}
failed=0

die() {
  echo "bench: $*" >&2
  exit 1
}

[ "$(id -u)" -eq 0 ] || die "run it as root: a node's files are root's"
"$repository/packaging/setup.sh" time strace
if [ -z "${KUBECERTD:-}" ] || [ -z "${KEYS:-}" ]; then
  (cd "$repository" && "${CARGO:-cargo}" build --release --locked --bin kubecertd --example keys)
fi
program=${KUBECERTD:-$target/release/kubecertd}
keys=${KEYS:-$target/release/examples/keys}
kubeadm=$target/e2e-parts/bin/kubeadm
[ -x "$kubeadm" ] || "$repository/packaging/e2e/parts.sh" "$target/e2e-parts" kubeadm || kubeadm=

work=$(mktemp -d "${TMPDIR:-/var/tmp}/kubecertd-table.XXXXXXXX")
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" || true; wait; rm -rf "$work"' EXIT

# shellcheck source=/dev/null
. "$here/node.sh"

# timed FILE COMMAND...: appends the microseconds that it took
timed() {
  local file=$1 begin end
  shift
  begin=${EPOCHREALTIME/./}
  "$@" >"$work/said" 2>&1 || die "$* failed: $(cat "$work/said")"
  end=${EPOCHREALTIME/./}
  echo $((end - begin)) >>"$file"
}

# peak COMMAND...: KiB
peak() {
  command time -f %M -o "$work/peak" "$@" >/dev/null 2>&1 || die "$* failed"
  cat "$work/peak"
}

median() {
  sort -n "$1" | awk '{ value[NR] = $1 } END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'
}

ms() {
  awk -v us="$1" 'BEGIN { printf "%.1f ms", us / 1000 }'
}

mib() {
  awk -v kib="$1" 'BEGIN { printf "%.1f MiB", kib / 1024 }'
}

row() {
  local cell
  printf '|' >&3
  for cell in "$@"; do printf ' %s |' "$cell" >&3; done
  printf '\n' >&3
}

# ratio NAME OURS THEIRS BOUND UNIT: a row; UNIT is ms or mib
ratio() {
  local value
  value=$(awk -v a="$2" -v b="$3" 'BEGIN { printf "%.2f", a / b }')
  row "$1" "$("$5" "$2")" "$("$5" "$3")" "$value" "$4"
  awk -v value="$value" -v bound="$4" 'BEGIN { exit !(value <= bound) }' || failed=1
}

# limit NAME VALUE UNIT BOUND: a row with a bound that is not a ratio
limit() {
  row "$1" "$2 $3" "" "" "$4 $3"
  awk -v value="$2" -v bound="$4" 'BEGIN { exit !(value <= bound) }' || failed=1
}

# What is timed has run once before, so that no first read from the disk is among the figures.
check_expiration() {
  local count ours=("$program" --root "$work/node" check-expiration)
  local theirs=("$kubeadm" certs check-expiration --config /kubeadm.yaml --rootfs "$work/node")
  if [ -z "$kubeadm" ]; then
    row "check-expiration / kubeadm" "skipped: no kubeadm v1.20.2 can be built here" "" "" 0.2
    return
  fi
  peak "${ours[@]}" >"$work/kib.ours"
  peak "${theirs[@]}" >"$work/kib.theirs"
  for ((count = 0; count < pairs; count++)); do
    timed "$work/check.theirs" "${theirs[@]}"
    timed "$work/check.ours" "${ours[@]}"
  done
  ratio "check-expiration / kubeadm, wall" "$(median "$work/check.ours")" "$(median "$work/check.theirs")" 0.2 ms
  ratio "check-expiration / kubeadm, peak memory" "$(cat "$work/kib.ours")" "$(cat "$work/kib.theirs")" 0.25 mib
}

renew() {
  local count number=10 ours=("$program" --root "$work/ours" renew all --force) syncs
  local theirs=("$kubeadm" certs renew all --config /kubeadm.yaml --rootfs "$work/theirs")
  node "$work/ours"
  node "$work/theirs"
  "${ours[@]}" >/dev/null 2>&1 || die "cannot renew"
  for ((count = 0; count < pairs; count++)); do
    [ -z "$kubeadm" ] || timed "$work/renew.theirs" "${theirs[@]}"
    timed "$work/renew.ours" "${ours[@]}"
    timed "$work/renew.floor" "$keys" "$number"
    # What the disk takes: seen in runs of its own, since being looked at costs time.
    strace -f -T -e trace=fsync,fdatasync,syncfs -o "$work/strace" "${ours[@]}" >/dev/null 2>&1 || die "cannot renew under strace"
    awk -F '[<>]' '/ = 0 </ { sum += $(NF - 1) } END { print int(sum * 1000000) }' "$work/strace" >>"$work/renew.sync"
    rm -rf "$work/ours/var/lib/kubecertd/backups"
  done
  local median_ours median_floor
  median_ours=$(median "$work/renew.ours") median_floor=$(median "$work/renew.floor") syncs=$(median "$work/renew.sync")
  if [ -n "$kubeadm" ]; then
    ratio "renew all ($number RSA-2048) with file backup / kubeadm, wall" "$median_ours" "$(median "$work/renew.theirs")" 0.8 ms
  else
    row "renew all / kubeadm, wall" "skipped: no kubeadm v1.20.2 can be built here" "" "" 0.8
  fi
  row "of it: fsync" "$(ms "$syncs")" "" "" ""
  ratio "renew all without fsync / making $number keys" "$(awk -v a="$median_ours" -v b="$syncs" 'BEGIN { print a - b }')" "$median_floor" 1.25 ms
}

inventory() {
  local number count first=0 begun=0
  node "$work/many"
  for number in 1 100 1000; do
    further "$work/many" "$begun" "$number"
    begun=$number
    : >"$work/many.us"
    for ((count = 0; count <= 10; count++)); do
      timed "$work/many.us" "$program" --root "$work/many" check-expiration
      [ "$count" -gt 0 ] || : >"$work/many.us"
    done
    limit "inventory of $number more pairs, wall" "$(awk -v us="$(median "$work/many.us")" 'BEGIN { printf "%.3f", us / 1000000 }')" s 1
    # What the node itself takes was measured with one pair.
    if [ "$number" -eq 1 ]; then
      first=$(median "$work/many.us")
    else
      row "of it: for each pair" "$(awk -v us="$(median "$work/many.us")" -v first="$first" -v n="$number" 'BEGIN { printf "%.0f µs", (us - first) / (n - 1) }')" "" "" ""
    fi
  done
  limit "inventory of 1000 more pairs, peak memory" "$(awk -v kib="$(peak "$program" --root "$work/many" check-expiration)" 'BEGIN { printf "%.1f", kib / 1024 }')" MiB 64
}

snapshot() {
  if [ "$size" -eq 0 ]; then
    row "backup create / etcdctl snapshot save" "skipped: SIZE=0" "" "" 1.1
    return
  fi
  SIZE=$size KUBECERTD=$program "$here/snapshot.sh" >"$work/snapshot" || failed=1
  awk -v size="$size" '
    /etcdctl snapshot save/ { theirs = $4; kib_theirs = $6 }
    /kubecertd backup create/ { ours = $4; kib_ours = $6 }
    /^  ratio/ && !done {
      done = 1
      printf "| backup create (etcd, %d MiB) / etcdctl snapshot save, wall | %d ms | %d ms | %s | 1.1 |\n", size, ours, theirs, $2
      printf "| the same, peak memory | %.1f MiB | %.1f MiB | %s | 0.5 |\n", kib_ours / 1024, kib_theirs / 1024, $3
    }' "$work/snapshot" >&3
}

# backups: lists and prunes a thousand backups
backups() {
  local number state=$work/stored/var/lib/kubecertd/backups manifest command directory bound
  node "$work/stored"
  "$program" --root "$work/stored" renew all --force >/dev/null 2>&1 || die "cannot renew"
  manifest=$(find "$state" -mindepth 2 -maxdepth 2 -name manifest.json | head -n 1)
  for ((number = 0; number < 1000; number++)); do
    directory=$state/$(printf '202001%02dT%02d%02d00Z' $((number / 100 + 1)) $((number % 100 / 60)) $((number % 60)))
    mkdir "$directory"
    cp "$manifest" "$directory/manifest.json"
  done
  for command in list prune; do
    bound=$([ "$command" = list ] && echo 1 || echo 5)
    timed "$work/backup.$command" "$program" --root "$work/stored" backup "$command"
    limit "backup $command with 1000 backups, wall" \
      "$(awk -v us="$(median "$work/backup.$command")" 'BEGIN { printf "%.3f", us / 1000000 }')" s "$bound"
  done
}

# outage: restarts all four components of a real node, once by kubeadm's documented way and once by
# `park`. The end-to-end test prints the ratios; it needs the parts that `make e2e` builds.
outage() {
  local name="API server unreachable, park / the documented way" ratio
  if [ ! -x "$target/e2e-parts/bin/kubelet" ] || [ ! -x "$target/e2e-parts/bin/containerd" ]; then
    row "$name" "skipped: run \`make e2e\` once, it builds the node" "" "" 0.33
    return
  fi
  (cd "$repository" && KUBECERTD=$program timeout 20m "${CARGO:-cargo}" test --locked --test e2e \
    a_running_control_plane_is_renewed -- --nocapture) >"$work/outage" || die "the end-to-end test failed"
  ratio=$(awk '/^kubecertd, park/ { print $(NF - 3) }' "$work/outage")
  row "$name" "" "" "${ratio:-not measured}" 0.33
  awk -v value="${ratio:-9}" 'BEGIN { exit !(value <= 0.33) }' || failed=1
}

idle() {
  node "$work/idle"
  start "$program" "$work/idle" "$work/idle.log" || die "the daemon has not looked"
  # The look is over once it sleeps on all threads; packaging/bench/idle.sh waits for ten minutes
  # instead.
  sleep 5
  limit "daemon at rest, resident" "$(awk '/^VmRSS:/ { printf "%.1f", $2 / 1024 }' "/proc/$daemon/status")" MiB 10
  limit "daemon, peak" "$(awk '/^VmHWM:/ { printf "%.1f", $2 / 1024 }' "/proc/$daemon/status")" MiB 64
  kill "$daemon"
  wait "$daemon" || true
  daemon=
}

sizes() {
  local deb
  limit "program" "$(awk -v bytes="$(stat -c %s "$program")" 'BEGIN { printf "%.1f", bytes / 1048576 }')" MiB 9
  deb=$(find "$target/packages/out" -name '*.deb' 2>/dev/null | head -n 1 || true)
  if [ -n "$deb" ]; then
    limit "deb" "$(awk -v bytes="$(stat -c %s "$deb")" 'BEGIN { printf "%.1f", bytes / 1048576 }')" MiB 4
  else
    row deb "skipped: no packages (make packages)" "" "" "4 MiB"
  fi
}

echo "$(date -u +%Y-%m-%d), $(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r), medians of $pairs pairs:" >&3
echo >&3
row what kubecertd other ratio bound
row --- ---: ---: ---: ---:
node "$work/node"
check_expiration
renew
inventory
snapshot
backups
idle
outage
sizes
[ "$failed" -eq 0 ] || die "a figure is above its bound"
