#!/bin/bash
# base.sh [DIRECTORY]: a Debian 13 with systemd and nothing else in DIRECTORY (target/systemd/base),
# from Debian's mirror. Kept once it is there. It takes a minute. The tests copy it, and boot the
# copies with systemd-nspawn.
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd)
base=${1:-$repository/target/systemd/base}
[ ! -d "$base" ] || exit 0
"$repository/packaging/setup.sh" debootstrap systemd-nspawn
# shellcheck disable=SC2016 # apt's own variables
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -1)
if [ -z "$mirror" ]; then
  echo "base: no mirror of Debian in apt's sources" >&2
  exit 1
fi
mkdir -p "$(dirname "$base")"
rm -rf "$base.new"
# Only a complete system gets its place.
timeout 20m debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus trixie "$base.new" "$mirror"
mv "$base.new" "$base"
