#!/bin/bash
# snapshot.sh: `kubecertd backup create` against `etcdctl snapshot save` on a real etcd: wall time
# and peak memory, in turns, medians.
#
# SIZE is the database in MiB (1024), ROUNDS how often each is run (5), KUBECERTD the program (built
# when it is not set). A second database of twice the size shows whether memory grows with it. Needs
# four times SIZE on the disk of TMPDIR (/var/tmp). Then `backup list` and `backup prune` on 1,000
# sets. Exits with 1 when a figure is above what is promised: ratios of 1.1 for time and 0.5 for
# memory, a second for each of the two.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
size=${SIZE:-1024}
rounds=${ROUNDS:-5}

die() {
  echo "bench: $*" >&2
  exit 1
}

[ "$(id -u)" -eq 0 ] || die "run it as root: a node's files are root's"
"$repository/packaging/setup.sh"
if [ -n "${KUBECERTD:-}" ]; then
  program=$KUBECERTD
else
  (cd "$repository" && "${CARGO:-cargo}" build --release --locked)
  program=${CARGO_TARGET_DIR:-$repository/target}/release/kubecertd
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/kubecertd-bench.XXXXXXXX")
etcd_pid=''
finish() {
  if [ -n "$etcd_pid" ]; then
    kill "$etcd_pid" 2>/dev/null || true
    wait "$etcd_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT

free_port() {
  local port tries
  for tries in {1..50}; do
    port=$((20000 + RANDOM % 10000))
    case " $ports " in *" $port "*) continue ;; esac
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      ports="$ports $port"
      return 0
    fi
  done
  die "cannot find a free port on 127.0.0.1 in $tries tries"
}

ctl() {
  etcdctl --endpoints "https://127.0.0.1:$client_port" --cacert "$pki/ca.crt" \
    --cert "$pki/healthcheck-client.crt" --key "$pki/healthcheck-client.key" "$@"
}

start_etcd() {
  local flag known arguments=(--quota-backend-bytes $((8 << 30)))
  known=$(etcd --help 2>&1)
  while read -r flag; do
    grep -q -e "^ *${flag%%=*} " <<<"$known" && arguments+=("$flag")
  done < <(sed -nE "s#=(/etc/kubernetes|/var/lib/etcd)#=$node\1#; s/^ +- (--.*)/\1/p" "$node/etc/kubernetes/manifests/etcd.yaml")
  [ "$(uname -m)" != aarch64 ] || export ETCD_UNSUPPORTED_ARCH=arm64
  etcd "${arguments[@]}" >"$work/etcd.log" 2>&1 &
  etcd_pid=$!
  local end=$((SECONDS + 30))
  until ctl endpoint health >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "etcd does not answer: $(tail -n 3 "$work/etcd.log")"
    sleep 0.1
  done
}

# fill FROM TO: a MiB each
fill() {
  local n
  for n in $(seq "$1" "$2"); do
    ctl put "/filler/$n" <"$work/value" >/dev/null
  done
}

# measure COMMAND...: runs it; milliseconds and peak KiB to $work/measured
measure() {
  local begin end pid
  sync
  begin=$(date +%s%N)
  "$@" >"$work/said" 2>&1 &
  pid=$!
  # VmHWM only grows, so the last look before the end has the peak.
  while grep -s VmHWM "/proc/$pid/status"; do
    sleep 0.02
  done >"$work/peaks" &
  wait "$pid" || die "$* failed: $(cat "$work/said")"
  end=$(date +%s%N)
  wait $!
  echo "$(((end - begin) / 1000000)) $(tail -n 1 "$work/peaks" | tr -dc 0-9)" >"$work/measured"
}

median() {
  sort -n | sed -n "$(((rounds + 1) / 2))p"
}

# compare: both in turns on the database as it is; medians to theirs_ms, theirs_kib, ours_ms,
# ours_kib
compare() {
  local round
  : >"$work/theirs"
  : >"$work/ours"
  for round in $(seq "$rounds"); do
    measure etcdctl --endpoints "https://127.0.0.1:$client_port" --cacert "$pki/ca.crt" \
      --cert "$pki/healthcheck-client.crt" --key "$pki/healthcheck-client.key" snapshot save "$work/snapshot.db"
    cat "$work/measured" >>"$work/theirs"
    rm -f "$work/snapshot.db"
    measure "$program" --root "$node" backup create
    cat "$work/measured" >>"$work/ours"
    if [ "$round" -eq 1 ]; then
      "$program" --root "$node" backup verify >/dev/null 2>&1 || die "the backup is bad"
    fi
    rm -rf "$node/var/lib/kubecertd/backups"
  done
  theirs_ms=$(cut -d' ' -f1 "$work/theirs" | median)
  theirs_kib=$(cut -d' ' -f2 "$work/theirs" | median)
  ours_ms=$(cut -d' ' -f1 "$work/ours" | median)
  ours_kib=$(cut -d' ' -f2 "$work/ours" | median)
}

# ratio A B: two decimals
ratio() {
  awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'
}

report() {
  local db
  db=$(ctl endpoint status -w fields | sed -n 's/^"DBSize" : //p')
  printf 'database of %s MiB, %s rounds in turns, medians\n' "$((db >> 20))" "$rounds"
  printf '  etcdctl snapshot save     %6s ms  %6s KiB\n' "$theirs_ms" "$theirs_kib"
  printf '  kubecertd backup create   %6s ms  %6s KiB\n' "$ours_ms" "$ours_kib"
  printf '  ratio                     %6s     %6s\n' "$(ratio "$ours_ms" "$theirs_ms")" "$(ratio "$ours_kib" "$theirs_kib")"
}

export ETCDCTL_API=3
node=$work/node
pki=$node/etc/kubernetes/pki/etcd
ports=''
free_port && free_port && free_port
read -r client_port peer_port metrics_port <<<"$ports"
"$repository/packaging/demo/make-node.sh" "$node" "$client_port" "$peer_port" "$metrics_port"
start_etcd
# It does not compress: neither side is helped by what is in it.
head -c 780000 /dev/urandom | base64 -w0 >"$work/value"

fill 1 "$size"
compare
report
time_ratio=$(ratio "$ours_ms" "$theirs_ms")
memory_ratio=$(ratio "$ours_kib" "$theirs_kib")
first_kib=$ours_kib

"$program" --root "$node" backup create >/dev/null 2>&1
sets=$node/var/lib/kubecertd/backups
one=$(ls "$sets")
for n in $(seq 1000); do
  set=$sets/$(date -u -d "2026-01-01 +$n hours" +%Y%m%dT%H%M%SZ)
  mkdir -m 0700 "$set"
  cp "$sets/$one/manifest.json" "$set"
done
slowest=0
for verb in list prune; do
  measure "$program" --root "$node" backup "$verb"
  read -r ms _ <"$work/measured"
  echo "backup $verb of 1,001 sets: $ms ms"
  [ "$ms" -le "$slowest" ] || slowest=$ms
done
rm -rf "$sets"

fill $((size + 1)) $((size * 2))
compare
report
growth=$(ratio "$ours_kib" "$first_kib")
echo "twice the database takes $growth times the memory"

awk -v t="$time_ratio" -v m="$memory_ratio" -v g="$growth" 'BEGIN { exit !(t <= 1.1 && m <= 0.5 && g <= 1.1) }' ||
  die "above what is promised: time $time_ratio (1.1), memory $memory_ratio (0.5), growth $growth (1.1)"
[ "$slowest" -lt 1000 ] || die "above what is promised: $slowest ms for 1,001 sets (1000)"
