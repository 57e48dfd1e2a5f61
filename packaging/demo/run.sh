#!/bin/bash
# run.sh: one renewal on a throw-away node with a real etcd. `make demo` calls it.
#
# It builds the program, lays out a node like kubeadm's below a temporary directory, starts Debian's
# etcd with that node's certificates, runs `kubecertd renew`, and shows the node before and after.
# Each line that begins with `ok` is a verified claim. The exit code is 0 only if all of them hold.
#
# Environment: KEEP=1          keep the directory and say where it is (default: it is removed)
#              KUBECERTD=PATH  use this program (default: cargo builds the release)
#              TMPDIR          where the directory is made (default: /tmp)
#
# Not root: it runs in a user namespace of its own, where this user counts as root.
set -euo pipefail
export LC_ALL=C ETCDCTL_API=3
umask 022

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
work='' etcd_pid='' failed=0 checked=0

# What is due on the node that make-node.sh makes: name, file, certificate authority.
due="admin.conf admin.conf ca
apiserver pki/apiserver.crt ca
apiserver-etcd-client pki/apiserver-etcd-client.crt etcd/ca
apiserver-kubelet-client pki/apiserver-kubelet-client.crt ca
controller-manager.conf controller-manager.conf ca
etcd-healthcheck-client pki/etcd/healthcheck-client.crt etcd/ca
etcd-peer pki/etcd/peer.crt etcd/ca
etcd-server pki/etcd/server.crt etcd/ca
scheduler.conf scheduler.conf ca
super-admin.conf super-admin.conf ca"

# What a cycle must leave alone here, below etc/kubernetes.
others="pki/ca.crt pki/ca.key pki/etcd/ca.crt pki/etcd/ca.key pki/front-proxy-ca.crt pki/front-proxy-ca.key pki/sa.key pki/sa.pub
pki/front-proxy-client.crt pki/front-proxy-client.key kubelet.conf manifests/etcd.yaml manifests/kube-apiserver.yaml"

finish() {
  local code=$?
  trap - EXIT
  if [ -n "$etcd_pid" ]; then
    kill "$etcd_pid" 2>/dev/null || true
    wait "$etcd_pid" 2>/dev/null || true
  fi
  if [ -n "$work" ]; then
    if [ "${KEEP:-}" = 1 ]; then
      echo "kept: $work (node below node/, etcd's log in etcd.log; etcd has been stopped)"
    else
      rm -rf "$work"
    fi
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

section() {
  printf '\n== %s\n\n' "$*"
}

die() {
  echo "demo: $*" >&2
  exit 1
}

# claim TEXT COMMAND...: runs the command, counts and prints whether the claim holds
claim() {
  local text=$1 output
  shift
  checked=$((checked + 1))
  if output=$("$@" 2>&1); then
    echo "ok      $text"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s\n%s\n' "$text" "$output"
  fi
}

same() {
  diff <(echo "$1") <(echo "$2")
}

differ() {
  [ "$1" != "$2" ] || { echo "both: $1"; return 1; }
}

# exits CODE COMMAND...: the command ends with exactly this exit code
exits() {
  local want=$1 got=0
  shift
  "$@" || got=$?
  [ "$got" = "$want" ] || { echo "exit code $got, not $want: $*"; return 1; }
}

# show ARGUMENT...: runs kubecertd on the node and prints the command line as a person would type it
show() {
  printf '$ kubecertd --root NODE %s\n' "$*"
  node_command "$@"
}

node_command() {
  "$program" --root "$node" "$@"
}

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

# pem KUBERNETES FILE: the certificate of a .crt file or a kubeconfig
pem() {
  case $2 in
    *.conf) sed -n 's/^ *client-certificate-data: *//p' "$1/$2" | base64 -d ;;
    *) cat "$1/$2" ;;
  esac
}

# key KUBERNETES FILE: the private key that belongs to it
key() {
  case $2 in
    *.conf) sed -n 's/^ *client-key-data: *//p' "$1/$2" | base64 -d ;;
    *) cat "$1/${2%.crt}.key" ;;
  esac
}

serial() {
  openssl x509 -noout -serial | cut -d= -f2
}

# identity: what must survive a renewal, from a certificate on standard input
identity() {
  openssl x509 -noout -subject -issuer -nameopt RFC2253,show_type \
    -ext subjectAltName,keyUsage,extendedKeyUsage,basicConstraints,authorityKeyIdentifier 2>/dev/null
}

# served PORT: the serial that etcd presents to a new TLS connection
served() {
  local client=$kubernetes/pki/etcd/healthcheck-client
  openssl s_client -connect "127.0.0.1:$1" -CAfile "$kubernetes/pki/etcd/ca.crt" -verify_return_error \
    -cert "$client.crt" -key "$client.key" </dev/null 2>/dev/null | serial
}

# ctl CLIENT ARGUMENT...: etcdctl with one of the node's client certificates
ctl() {
  local client=$kubernetes/pki/$1
  shift
  etcdctl --endpoints "https://127.0.0.1:$client_port" --cacert "$kubernetes/pki/etcd/ca.crt" \
    --cert "$client.crt" --key "$client.key" "$@"
}

data() {
  ctl "$1" get --prefix /registry/ | sha256sum | cut -d' ' -f1
}

started() {
  cut -d' ' -f22 "/proc/$etcd_pid/stat"
}

# one renewed credential: NAME FILE CA
renewed() {
  local old=$work/old/etc/kubernetes file=$2 ca=$kubernetes/pki/$3.crt before
  before=$(pem "$old" "$file" | identity)
  pem "$kubernetes" "$file" >"$work/new.crt" &&
    key "$kubernetes" "$file" >"$work/new.key" &&
    differ "$(pem "$old" "$file" | serial)" "$(serial <"$work/new.crt")" &&
    differ "$(key "$old" "$file" | sha256sum)" "$(sha256sum <"$work/new.key")" &&
    differ "$before" "" &&
    same "$before" "$(identity <"$work/new.crt")" &&
    same "$(openssl x509 -in "$work/new.crt" -noout -pubkey)" "$(openssl pkey -in "$work/new.key" -pubout)" &&
    same "$(head -n1 "$work/new.key")" "-----BEGIN RSA PRIVATE KEY-----" &&
    openssl verify -x509_strict -CAfile "$ca" "$work/new.crt" &&
    openssl x509 -in "$work/new.crt" -noout -checkend $((364 * 86400))
}

# all names, modes, owners and link targets below etc/kubernetes
layout() {
  (cd "$kubernetes" && find . -printf '%P %y %m %U:%G %l\n' | sort)
}

# inode, time of last change and content of what must not be touched
untouched() {
  # shellcheck disable=SC2086 # a list of plain names
  (cd "$kubernetes" && stat -c '%i %.9Y %n' $others && sha256sum $others)
}

# a manifest gained the annotation and nothing else
annotated() {
  local changes
  changes=$(diff "$work/old/etc/kubernetes/manifests/$1" "$kubernetes/manifests/$1" | grep '^[<>]') || true
  grep -q '^> *kubecertd.io/restarted-at:' <<<"$changes" || { echo "no annotation"; return 1; }
  changes=$(grep -v -e '^> *annotations:$' -e '^> *kubecertd.io/restarted-at:' <<<"$changes") || true
  same "$changes" ""
}

# the backup holds what was replaced, byte for byte
backed_up() {
  local old=$work/old/etc/kubernetes copy=$backup/files/etc/kubernetes name file ca
  while read -r name file ca; do
    cmp "$old/$file" "$copy/$file" || return 1
  done <<<"$due"
  diff -r "$old/pki" "$copy/pki" && diff -r "$old/manifests" "$copy/manifests"
}

# the backup's list has the SHA-256 sum of every file in it
listed() {
  local sum file files=0
  while read -r sum file; do
    grep -q "\"$sum\"" "$backup/manifest.json" || { echo "no sum of $file"; return 1; }
    files=$((files + 1))
  done < <(find "$backup/files" -type f -exec sha256sum {} +)
  [ "$files" -gt 0 ]
}

# etcd's own tool compares the checksum behind the snapshot
etcd_backed_up() {
  etcdctl snapshot status "$backup/etcd-snapshot.db"
}

start_etcd() {
  local flag known arguments=()
  known=$(etcd --help 2>&1)
  # The flags of the node's manifest, with paths below the node's directory, without the flags that
  # this etcd does not know.
  while read -r flag; do
    grep -q -e "^ *${flag%%=*} " <<<"$known" && arguments+=("$flag")
  done < <(sed -nE "s#=(/etc/kubernetes|/var/lib/etcd)#=$node\1#; s/^ +- (--.*)/\1/p" "$kubernetes/manifests/etcd.yaml")
  # etcd 3.4 starts on arm64 only when it is told to.
  [ "$(uname -m)" != aarch64 ] || export ETCD_UNSUPPORTED_ARCH=arm64
  etcd "${arguments[@]}" >"$work/etcd.log" 2>&1 &
  etcd_pid=$!
  local end=$((SECONDS + 30))
  until ctl etcd/healthcheck-client endpoint health >/dev/null 2>&1; do
    kill -0 "$etcd_pid" 2>/dev/null || { tail -n 20 "$work/etcd.log" >&2; die "etcd ended while it was starting"; }
    [ "$SECONDS" -lt "$end" ] || { tail -n 20 "$work/etcd.log" >&2; die "etcd does not answer 30 s after its start"; }
    sleep 0.1
  done
}

for tool in openssl etcd etcdctl; do
  command -v "$tool" >/dev/null || die "cannot find $tool: run \`make setup\`"
done

section "The program"
if [ -n "${KUBECERTD:-}" ]; then
  program=$KUBECERTD
else
  (cd "$repository" && "${CARGO:-cargo}" build --release --locked)
  program=${CARGO_TARGET_DIR:-$repository/target}/release/kubecertd
fi
"$program" --version || die "cannot run $program"

# kubecertd refuses files that do not belong to root. A user namespace makes this user root of its
# own files, and of no others.
if [ "$(id -u)" -ne 0 ]; then
  unshare --map-root-user true 2>/dev/null || die "cannot be root in a user namespace on this machine: run it as root"
  export KUBECERTD=$program
  exec unshare --map-root-user "$0"
fi

section "A node as kubeadm leaves it, a year old, with a real etcd"
work=$(mktemp -d -t kubecertd-demo.XXXXXXXX)
node=$work/node
kubernetes=$node/etc/kubernetes
ports=''
free_port && free_port && free_port
read -r client_port peer_port metrics_port <<<"$ports"
"$here/make-node.sh" "$node" "$client_port" "$peer_port" "$metrics_port"
start_etcd
for i in 1 2 3 4 5 6 7 8 9 10; do
  ctl apiserver-etcd-client put "/registry/demo/$i" "written before the renewal, $i" >/dev/null
done
echo "NODE is $node"
echo "$(etcd --version | head -n1), process $etcd_pid, clients on 127.0.0.1:$client_port, peers on 127.0.0.1:$peer_port"
echo "etcd holds $(ctl etcd/healthcheck-client get --prefix /registry/ --keys-only | grep -c .) keys, written with apiserver-etcd-client"

mkdir "$work/old"
cp -a "$node/etc" "$work/old/"
old_layout=$(layout)
old_others=$(untouched)
old_data=$(data etcd/healthcheck-client)
old_start=$(started)
old_server=$(served "$client_port") || die "cannot read the certificate that etcd serves to clients"
old_peer=$(served "$peer_port") || die "cannot read the certificate that etcd serves to peers"
echo "etcd serves serial $old_server to clients, $old_peer to peers"

section "Before: what is on the node"
show check-expiration

section "The plan"
show plan
echo
claim "plan --exit-code says that something is due (10)" exits 10 node_command plan --exit-code
claim "looking and planning changed nothing" same "$old_others$old_layout" "$(untouched)$(layout)"
claim "looking and planning made no backup" test ! -e "$node/var/lib/kubecertd/backups"

section "One cycle: back up, renew, touch the manifests"
begin=$(date +%s%N)
code=0
show renew || code=$?
echo
echo "exit code $code after $((($(date +%s%N) - begin) / 1000000)) ms"
claim "renew says that everything is done (0)" same "$code" 0

section "After: what is on the node"
show check-expiration
echo
while read -r name file ca; do
  claim "$name: new key and serial, same identity, signed by its CA, more than 364 days left" renewed "$name" "$file" "$ca"
done <<<"$due"
claim "front-proxy-client, the CAs, the service account keys, kubelet.conf and the manifests of etcd and kube-apiserver
        have their old bytes, inode and time" same "$old_others" "$(untouched)"
claim "names, modes and owners below etc/kubernetes are as before, nothing was left behind" same "$old_layout" "$(layout)"
claim "kube-controller-manager.yaml gained the annotation and nothing else" annotated kube-controller-manager.yaml
claim "kube-scheduler.yaml gained the annotation and nothing else" annotated kube-scheduler.yaml

section "The backup"
backups=("$node"/var/lib/kubecertd/backups/*)
backup=${backups[0]}
if [ -d "$backup" ]; then
  (cd "$backup" && echo "${backup#"$node"}:" && find . -mindepth 1 -printf '%M %u:%g %9s  %P\n' | sort -k4)
fi
echo
claim "there is one backup, complete and for root only (0700)" same "${#backups[@]} $(stat -c %a "$backup" 2>&1)" "1 700"
claim "it holds the old PKI, kubeconfigs and manifests byte for byte" backed_up
claim "its list has the SHA-256 sum of every file in it" listed
claim "it holds a snapshot of etcd, which etcdctl finds whole" etcd_backed_up

section "etcd, which was not restarted"
new_server=$(served "$client_port" || true)
new_peer=$(served "$peer_port" || true)
echo "served to clients: $old_server before, $new_server now"
echo "served to peers:   $old_peer before, $new_peer now"
echo
claim "etcd is the same process" same "$(started)" "$old_start"
claim "it serves the new etcd/server.crt" same "$new_server" "$(serial <"$kubernetes/pki/etcd/server.crt")"
claim "which is not the one it served before" differ "$new_server" "$old_server"
claim "it serves the new etcd/peer.crt" same "$new_peer" "$(serial <"$kubernetes/pki/etcd/peer.crt")"
claim "which is not the one it served before" differ "$new_peer" "$old_peer"
claim "the renewed etcd-healthcheck-client reads the data, all there" same "$(data etcd/healthcheck-client || true)" "$old_data"
claim "the renewed apiserver-etcd-client writes" ctl apiserver-etcd-client put /demo/after "written after the renewal"

section "Once more: nothing is due"
everything() {
  layout
  (cd "$kubernetes" && find . -type f -exec sha256sum {} + -exec stat -c '%i %.9Y %n' {} + | sort)
  ls "$node/var/lib/kubecertd/backups" 2>&1 || true
}
after=$(everything)
code=0
show renew || code=$?
echo
claim "renew has nothing to do (0)" same "$code" 0
claim "plan --exit-code agrees (0)" exits 0 node_command plan --exit-code
claim "no file was written, no backup made" same "$after" "$(everything)"

section "Result"
echo "$checked claims checked, $failed failed"
[ "$failed" -eq 0 ]
