#!/bin/bash
# setup.sh [COMMAND...]: installs what `make demo` and `make test` need and this machine lacks, from
# Debian's packages; and further commands whose package has the same name (shellcheck, say).
#
# Looks first, and calls apt-get only when something is missing: as root, or with sudo where there
# is one. Without either it says what is needed and exits 1. The Rust toolchain is not installed
# here: it only says so when cargo is missing.
set -euo pipefail

libfaketime() {
  compgen -G "/usr/lib/*/faketime/libfaketime.so.1" >/dev/null || compgen -G "/usr/lib*/faketime/libfaketime.so.1" >/dev/null
}

has() {
  PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null
}

# A program, where the shell has a command of the same name built in.
has_file() {
  PATH=$PATH:/usr/sbin:/sbin type -P "$1" >/dev/null
}

missing=()
# need PACKAGE COMMAND...: the package is missing when the command fails
need() {
  local package=$1
  shift
  "$@" || missing+=("$package")
}

need gcc has cc
need libc6-dev test -e /usr/include/stdio.h
need make has make
# etcd-client makes its code from etcd's protobuf files.
need protobuf-compiler has protoc
need libprotobuf-dev test -e /usr/include/google/protobuf/descriptor.proto
need openssl has openssl
need faketime libfaketime
need etcd-server has etcd
need etcd-client has etcdctl
need strace has strace
# journalctl reads the catalog.
need systemd has journalctl
# promtool judges metrics and rules, and the dashboard's queries are asked of a real Prometheus.
need prometheus has promtool
need prometheus-node-exporter has prometheus-node-exporter
need curl has curl
need attr has setfattr
need acl has setfacl
need mount has mount
need util-linux has unshare
# The tests of the metrics and of hooks call it, the latter by a plain PATH.
need python3 test -x /usr/bin/python3
# Not in a small Debian: processes are ended by kill, and files made immutable by chattr.
need procps has_file kill
need e2fsprogs has chattr
for tool in "$@"; do
  case $tool in
    python3-venv) need python3-venv python3 -c 'import ensurepip' ;;
    fonts-dejavu-core) need fonts-dejavu-core test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ;;
    html5lib) need python3-html5lib /usr/bin/python3 -c 'import html5lib' ;;
    pngtopnm) need netpbm has pngtopnm ;;
    # A word of the shell too.
    time) need time test -x /usr/bin/time ;;
    objdump) need binutils has objdump ;;
    iproute2) need iproute2 has ip ;;
    systemd-nspawn) need systemd-container has systemd-nspawn ;;
    *) need "$tool" has "$tool" ;;
  esac
done

if ! has "${CARGO:-cargo}"; then
  echo "setup: cannot find ${CARGO:-cargo}" >&2
  echo "hint: install the Rust toolchain (1.89 or newer), and see that its bin directory is on PATH" >&2
  exit 1
fi
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

echo "setup: missing: ${missing[*]}"
if ! has apt-get; then
  echo "setup: cannot install them: this machine has no apt-get" >&2
  echo "hint: install what this system calls these Debian packages: ${missing[*]}" >&2
  exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif has sudo; then
  as_root=(sudo)
else
  echo "setup: cannot install them: not root, and there is no sudo" >&2
  echo "hint: run as root: apt-get install ${missing[*]}" >&2
  exit 1
fi
as_root+=(env DEBIAN_FRONTEND=noninteractive)
"${as_root[@]}" apt-get update -q </dev/null
"${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null

# Debian starts and enables what it installs. The demo and the tests start their own.
for package in "${missing[@]}"; do
  case $package in
    etcd-server) unit=etcd.service ;;
    prometheus | prometheus-node-exporter) unit=$package.service ;;
    *) continue ;;
  esac
  if [ -d /run/systemd/system ]; then
    echo "setup: stops and disables $unit, which came with $package"
    "${as_root[@]}" systemctl disable --now "$unit"
  fi
done
