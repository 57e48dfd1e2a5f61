#!/bin/bash
# package.sh [DIRECTORY]: builds the deb and the rpm of this tree into DIRECTORY
# (target/packages/out), and prints their sizes and sums.
#
# The program is linked with glibc 2.28, so that it runs on RHEL 8, Debian 11, Ubuntu 20.04 and
# later: cargo-zigbuild does that, with the zig of PyPI. All tools are fetched into target/packages.
# The same commit gives the same bytes: SOURCE_DATE_EPOCH is its time, and paths of this machine are
# left out of the program (packaging/reproducible.sh tries it).
#
# PREVIOUS=VERSION builds packages of that version from the program that is there, to upgrade from.
# DOCS is the program that writes the manual pages (examples/docs, built when it is not set).
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

work=$PWD/target/packages
out=${1:-$work/out}
target=x86_64-unknown-linux-gnu
glibc=2.28
# One pin for each tool; packaging/cargo-tool.sh has those of the packagers.
cargo_zigbuild=0.24.1
ziglang=0.17.1

# step TEXT COMMAND...: runs it and prints how long it took
step() {
  local text=$1 begin=$SECONDS
  shift
  "$@"
  echo "packages: $text: $((SECONDS - begin)) s"
}

zig() {
  [ -x "$work/venv/bin/pip" ] || python3 -m venv "$work/venv"
  timeout 10m "$work/venv/bin/pip" install --quiet "cargo-zigbuild==$cargo_zigbuild" "ziglang==$ziglang"
}

# No tables for unwinding: a panic aborts, and the program is stripped, so nothing reads them; they
# are a hundredth of its size.
program() {
  PATH=$work/venv/bin:$PATH CFLAGS="-fno-asynchronous-unwind-tables -fno-unwind-tables" \
    RUSTFLAGS="-Cforce-unwind-tables=no --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$PWD=/kubecertd" \
    "${CARGO:-cargo}" zigbuild --release --locked --target "$target.$glibc"
}

# The newest symbol of glibc that the program wants must be of a version that all those systems
# have.
glibc_is_old_enough() {
  local newest
  newest=$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
  echo "packages: newest symbol of the program: $newest"
  [ "$(printf '%s\n' "GLIBC_$glibc" "$newest" | sort -V | tail -1)" = "GLIBC_$glibc" ]
}

# no_larger_than MIB FILE: what a node is asked to hold; a dependency that doubles it is a decision
no_larger_than() {
  local bytes
  bytes=$(stat -c %s "$2")
  if [ "$bytes" -gt $(($1 * 1048576)) ]; then
    echo "packages: $2 has $bytes bytes, which is more than $1 MiB" >&2
    return 1
  fi
}

docs() {
  if [ -n "${DOCS:-}" ]; then
    "$DOCS" "$work/docs"
  else
    "${CARGO:-cargo}" run --quiet --locked --example docs -- "$work/docs"
  fi
  packaging/sbom.py "$target" >"$work/docs/kubecertd.cdx.json"
}

# debian_changelog VERSION
debian_changelog() {
  printf 'kubecertd (%s) unstable; urgency=medium\n\n  * The changes are in changelog.gz.\n\n -- %s  %s\n' "$1" \
    "$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)" "$(LC_ALL=C date -u -R -d "@$epoch")" >"$work/docs/changelog.Debian"
}

deb() {
  debian_changelog "$version-1"
  packaging/stage.sh deb "$program" "$work/docs" "$work/root/deb"
  SOURCE_DATE_EPOCH=$epoch "${CARGO:-cargo}" deb --quiet --no-build --no-strip --target "$target" --deb-version "$version-1" \
    --output "$out/kubecertd_$version-1_amd64.deb"
}

rpm_package() {
  packaging/stage.sh rpm "$program" "$work/docs" "$work/root/rpm"
  SOURCE_DATE_EPOCH=$epoch "${CARGO:-cargo}" generate-rpm --target "$target" --payload-compress xz --set-metadata "version = \"$version\"" \
    --output "$out/kubecertd-$version-1.x86_64.rpm"
}

epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
# For the packagers alone: a compiler that is told of another time builds all C code again.
unset SOURCE_DATE_EPOCH
# A package knows no locale, and its files no umask of who built it.
export LC_ALL=C.UTF-8
umask 022
program=${CARGO_TARGET_DIR:-$PWD/target}/$target/release/kubecertd
# The first version in the file is the package's own; ~ sorts before the release in both formats.
version=${PREVIOUS:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1 | sed 's/-/~/')}

packaging/setup.sh python3-venv objdump
mkdir -p "$out"
packaging/cargo-tool.sh cargo-deb cargo-generate-rpm
if [ -z "${PREVIOUS:-}" ] || [ ! -x "$program" ]; then
  step "zig" zig
  step "program, glibc $glibc" program
  glibc_is_old_enough
fi
no_larger_than 9 "$program"
step "manual pages, completions, list of libraries" docs
step "deb" deb
step "rpm" rpm_package
for package in "$out"/*"$version"*; do no_larger_than 4 "$package"; done
(cd "$out" && sha256sum ./*"$version"* && du -b ./*"$version"* "$program")
