#!/bin/bash
# pictures.sh: the two pictures of the README, from a real run on a throw-away node. `make pictures`
# calls it, as root.
#
# It lays out a node like kubeadm's, makes it the root directory of a few processes in namespaces of
# their own, and starts Debian's etcd and the daemon there. It records three commands and writes:
#
#   docs/images/demo.svg     the commands and their output, as terminal.py draws them
#   docs/images/report.png   the page of `kubecertd report --html`, as Chromium draws it
#
# Two runs differ in dates, serial numbers and backup names only.
#
# Environment: KUBECERTD=PATH  use this program (default: cargo builds the release)
#              TMPDIR          directory that gets the node (default: /tmp)
set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
images=$repository/docs/images

die() {
  echo "pictures: $*" >&2
  exit 1
}

# The script calls itself twice: inside of the namespaces, and inside of the node.
if [ "${1:-}" = --enter ]; then
  node=$2
  hostname demo-cp1
  mkdir -p "$node"/{usr,proc,dev,root,opt/bin}
  for link in bin sbin lib lib64; do ln -s "usr/$link" "$node/$link"; done
  mount --rbind /usr "$node/usr"
  mount --rbind /dev "$node/dev"
  mount -t proc proc "$node/proc"
  install -d -m 1777 "$node/tmp"
  install -m 0755 "$KUBECERTD" "$node/opt/bin/kubecertd"
  install -m 0755 "$here/pictures.sh" "$node/opt/bin/pictures.sh"
  exec chroot "$node" /opt/bin/pictures.sh --record
fi

# until_true SECONDS COMMAND...: fails when the command does not succeed in time
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "waited too long for: $*"
    sleep 0.1
  done
}

etcd_answers() {
  ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
    --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key endpoint health
}

if [ "${1:-}" = --record ]; then
  export PATH=/opt/bin:/usr/bin:/usr/sbin:/usr/local/bin
  export -n KUBECERTD
  # Here etcd runs as a plain process, and this command restarts it. For a static pod the kubelet
  # would do that.
  cat >/opt/bin/restart-etcd <<'RESTART'
#!/bin/bash
export PATH=/usr/bin:/usr/sbin LC_ALL=C
old=$(cat /tmp/etcd.pid 2>/dev/null) && kill "$old" && while kill -0 "$old" 2>/dev/null; do sleep 0.05; done
known=$(etcd --help 2>&1) flags=()
while read -r flag; do
  grep -q -e "^ *${flag%%=*} " <<<"$known" && flags+=("$flag")
done < <(sed -nE 's/^ +- (--.*)/\1/p' /etc/kubernetes/manifests/etcd.yaml)
setsid etcd "${flags[@]}" >>/tmp/etcd.log 2>&1 &
echo $! >/tmp/etcd.pid
RESTART
  chmod 0755 /opt/bin/restart-etcd
  mkdir -p /etc/kubecertd
  cat >/etc/kubecertd/config.toml <<'CONFIG'
[restart]
timeout = "20s"

[[reader]]
name = "etcd"
exec = ["/opt/bin/restart-etcd"]
CONFIG
  restart-etcd
  until_true 30 etcd_answers
  kubecertd run >/tmp/daemon.log 2>&1 &
  until_true 30 kubecertd status
  record=/tmp/record
  for words in check-expiration "renew etcd-peer etcd-server" "backup list"; do
    # shellcheck disable=SC2086 # a command line
    { printf '\f$ kubecertd %s\n' "$words" && kubecertd $words; } >>"$record" 2>&1 || die "kubecertd $words: exit code $?"
  done
  kubecertd report --html /tmp/report.html
  exit 0
fi

[ "$(id -u)" -eq 0 ] || die "run it as root"
if [ -z "${KUBECERTD:-}" ]; then
  (cd "$repository" && "${CARGO:-cargo}" build --release --locked)
  KUBECERTD=${CARGO_TARGET_DIR:-$repository/target}/release/kubecertd
fi
export KUBECERTD
work=$(mktemp -d -t kubecertd-pictures.XXXXXXXX)
trap 'rm -rf "$work"' EXIT
node=$work/node
"$here/make-node.sh" "$node" 2379 2380 2381
# The processes and mounts end with their namespaces. In a network of their own every port is free.
unshare --mount --pid --fork --kill-child --uts --net bash -c 'ip link set lo up && exec "$@"' - "$here/pictures.sh" --enter "$node" ||
  { tail -n 20 "$node"/tmp/*.log "$node/tmp/record" >&2; die "the recording failed"; }

mkdir -p "$images"
python3 "$here/terminal.py" <"$node/tmp/record" >"$images/demo.svg"
# Chromium reads nothing but the page: it has no network. A palette keeps the picture small.
timeout -s KILL 60 unshare --net chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
  --disable-background-networking "--user-data-dir=$work/profile" --window-size=1240,1440 \
  --blink-settings=preferredColorScheme=1 "--screenshot=$work/report.png" "file://$node/tmp/report.html" 2>"$work/chromium.log" ||
  { cat "$work/chromium.log" >&2; die "Chromium failed"; }
pngtopnm "$work/report.png" | pnmquant 64 2>/dev/null | pnmtopng -compression 9 2>/dev/null >"$images/report.png"
for picture in "$images/demo.svg" "$images/report.png"; do
  size=$(stat -c %s "$picture")
  echo "${picture#"$repository/"}: $size bytes"
  [ "$size" -le 200000 ] || die "${picture#"$repository/"} is larger than 200 kB"
done
