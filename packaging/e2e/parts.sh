#!/bin/bash
# parts.sh [DIRECTORY [COMMAND...]]: gets the real parts of a Kubernetes v1.20.2 node into DIRECTORY
# (target/e2e-parts): kubelet, kubeadm and the three control-plane programs, built from Debian 12's
# source package, and containerd, runc, busybox and kubectl from its binary packages.
#
# With COMMANDs only those of the five programs are built, and no packages are unpacked: `parts.sh
# target/e2e-parts kubeadm`.
#
# What is there already is kept; only what is missing is fetched or built. Nothing is installed: the
# packages are unpacked into DIRECTORY, and apt is told to use lists and a cache in there too, so
# the machine's own apt knows nothing of it (the lists need a `deb-src` line that few machines
# have). About five minutes on two cores, nearly all of it the Go compiler; sources and compiler are
# removed afterwards.
#
# Exit codes: 0 the parts are there; 77 they cannot be had on this system (not Debian 12); 1
# something failed.
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd)
parts=${1:-${CARGO_TARGET_DIR:-$repository/target}/e2e-parts}
# The source package is of 1.20.2; the go build has no git tags to read this from.
version=v1.20.2
commands=(kubelet kubeadm kube-apiserver kube-controller-manager kube-scheduler)
packages=(containerd runc busybox-static kubernetes-client)
package_files=(usr/bin/containerd usr/bin/containerd-shim-runc-v2 usr/bin/ctr usr/sbin/runc bin/busybox usr/bin/kubectl)
build_packages=(golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev)
if [ $# -gt 1 ]; then
  commands=("${@:2}") packages=() package_files=()
fi
bin=$parts/bin
build=$parts/build

die() {
  echo "parts: $1" >&2
  exit "${2:-1}"
}

# step TEXT COMMAND...: runs it and prints how long it took
step() {
  local text=$1 begin=$SECONDS
  shift
  echo "parts: $text"
  "$@"
  echo "parts: $text: $((SECONDS - begin)) s"
}

complete() {
  local name
  for name in "${commands[@]}" "${package_files[@]##*/}"; do
    [ -x "$bin/$name" ] || return 1
  done
}

main() {
  if complete; then
    exit 0
  fi
  # shellcheck source=/dev/null
  . /etc/os-release
  if [ "${ID:-}" != debian ] || [ "${VERSION_ID:-}" != 12 ]; then
    die "the parts of a real node come from the packages of Debian 12; this is ${PRETTY_NAME:-another system}" 77
  fi
  mkdir -p "$bin" "$parts/apt/lists/partial" "$parts/apt/cache/archives/partial"
  exec 9>"$parts/lock"
  flock -w 1800 9 || die "another parts.sh has held $parts/lock for half an hour"

  step "package lists" lists
  fetch_packages
  build_commands
  rm -rf "$parts/apt" "$build"
  complete || die "some of the parts are still missing in $bin"
  du -sh "$bin"
}

# The machine's own mirrors of this Debian release, with their source packages.
lists() {
  # shellcheck disable=SC2016 # apt's own variables
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v release="$VERSION_CODENAME" '$3 == "main" && index($2, release) == 1 && !seen[$0]++ {
      for (type = 1; type <= 2; type++)
        print (type == 1 ? "deb" : "deb-src"), "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $1, $2, $3
    }' >"$parts/apt/sources.list"
  [ -s "$parts/apt/sources.list" ] || die "no line of $VERSION_CODENAME main in apt's sources"
  apt_get -q update
}

apt_get() {
  # Unpacked as root: apt's own user cannot write into the directory.
  apt-get -o Dir::Etc::SourceList="$parts/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root \
    -o Dir::State::Lists="$parts/apt/lists" -o Dir::Cache="$parts/apt/cache" -o Acquire::Retries=3 "$@" </dev/null
}

# unpack DIRECTORY PACKAGE...
unpack() {
  local directory=$1 package
  shift
  mkdir -p "$directory" "$parts/apt/debs"
  for package in "$@"; do
    rm -f "$parts/apt/debs"/*
    (cd "$parts/apt/debs" && apt_get -q download "$package")
    dpkg-deb -x "$parts/apt/debs"/*.deb "$directory"
  done
}

fetch_packages() {
  local name missing=0
  for name in "${package_files[@]##*/}"; do
    [ -x "$bin/$name" ] || missing=1
  done
  [ "$missing" -eq 1 ] || return 0
  step "binary packages: ${packages[*]}" unpack "$parts/apt/root" "${packages[@]}"
  for name in "${package_files[@]}"; do
    install -m 0755 "$parts/apt/root/$name" "$bin/"
  done
}

build_commands() {
  local name missing=()
  for name in "${commands[@]}"; do
    [ -x "$bin/$name" ] || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  step "Go 1.19" unpack "$build/root" "${build_packages[@]}"
  step "sources of Kubernetes" sources
  case " ${missing[*]} " in
    *" kube-apiserver "*) step "OpenAPI definitions" openapi ;;
  esac
  for name in "${missing[@]}"; do
    step "go build $name" go_build "$build/bin/" "./cmd/$name"
    # Only a complete program gets its place.
    mv "$build/bin/$name" "$bin/"
  done
}

sources() {
  local tree=$build/go/src/k8s.io/kubernetes reflect2=vendor/github.com/modern-go/reflect2
  rm -rf "$tree" && mkdir -p "$tree" "$parts/apt/source"
  (cd "$parts/apt/source" && apt_get -q source --download-only kubernetes)
  # Without Debian's patches: they concern kubectl alone.
  tar -xzf "$parts/apt/source"/kubernetes_*.orig.tar.gz -C "$tree" --strip-components=1
  # The vendored reflect2 crashes with Go 1.18 and newer.
  rm "$tree/$reflect2"/*.go
  cp "$build/root/usr/share/gocode/src/github.com/modern-go/reflect2"/*.go "$tree/$reflect2/"
  rm -f "$tree/$reflect2"/*_test.go
}

go_tool() {
  local root=$build/root/usr/lib/go-1.19
  (cd "$build/go/src/k8s.io/kubernetes" && env -u GOFLAGS GOROOT="$root" GOPATH="$build/go" GOCACHE="$build/cache" \
    GO111MODULE=off CGO_ENABLED=0 nice "$root/bin/go" "$@")
}

# go_build OUTPUT PACKAGE
go_build() {
  local package flags="-s -w" variable
  for package in k8s.io/kubernetes/vendor/k8s.io/component-base/version k8s.io/kubernetes/vendor/k8s.io/client-go/pkg/version; do
    for variable in gitVersion=$version gitMajor=1 gitMinor=20 gitTreeState=clean buildDate=2021-01-13T13:20:00Z; do
      flags+=" -X $package.$variable"
    done
  done
  mkdir -p "$build/bin"
  go_tool build -ldflags "$flags" -o "$1" "$2"
}

# kube-apiserver needs definitions that are generated, and not in the source package.
openapi() {
  local tree=$build/go/src/k8s.io/kubernetes directories
  go_build "$build/bin/" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  directories=$(cd "$tree" && grep -rl --include=*.go '+k8s:openapi-gen=' pkg staging/src cmd | xargs -n1 dirname | sort -u |
    sed -e 's#^staging/src/#k8s.io/kubernetes/vendor/#' -e 's#^\(pkg\|cmd\)/#k8s.io/kubernetes/\1/#' | paste -sd,)
  (cd "$tree" && GOROOT="$build/root/usr/lib/go-1.19" GOPATH="$build/go" GO111MODULE=off \
    PATH="$build/root/usr/lib/go-1.19/bin:$PATH" "$build/bin/openapi-gen" \
    -i "$directories" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi -o "$build/go/src" \
    -h hack/boilerplate/boilerplate.generatego.txt -r /dev/null)
}

main
