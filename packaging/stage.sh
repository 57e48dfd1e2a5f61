#!/bin/bash
# stage.sh deb|rpm PROGRAM DOCS DIRECTORY: puts into DIRECTORY what a package holds, at the places
# that it has on a node. This is the one list of what is shipped; Cargo.toml says only which parts
# of the tree are configuration and which are executable.
#
# PROGRAM is the release program, DOCS what `cargo run --example docs` made, and kubecertd.cdx.json,
# the list of all libraries. SOURCE_DATE_EPOCH dates the changelog.
set -euo pipefail

kind=$1 program=$2 docs=$3 root=$4
cd "$(dirname "$0")/.."
doc=usr/share/doc/kubecertd
case $kind in
  deb) zsh=usr/share/zsh/vendor-completions ;;
  rpm) zsh=usr/share/zsh/site-functions ;;
  *) echo "stage: deb or rpm, not $kind" >&2; exit 2 ;;
esac

# put MODE SOURCE PLACE
put() {
  install -D -m "$1" "$2" "$root/$3"
}

# packed SOURCE PLACE: without name and time, so that the bytes are those of the content alone
packed() {
  install -d "$(dirname "$root/$2")"
  gzip -9n <"$1" >"$root/$2"
  chmod 0644 "$root/$2"
}

rm -rf "$root"
put 0755 "$program" usr/bin/kubecertd
put 0644 config/kubecertd.toml etc/kubecertd/config.toml
put 0644 systemd/kubecertd.service usr/lib/systemd/system/kubecertd.service
put 0644 systemd/kubecertd-recover.service usr/lib/systemd/system/kubecertd-recover.service
if [ -e systemd/kubecertd.catalog ]; then
  put 0644 systemd/kubecertd.catalog usr/lib/systemd/catalog/kubecertd.catalog
fi
packed "$docs/kubecertd.8" usr/share/man/man8/kubecertd.8.gz
packed "$docs/kubecertd.toml.5" usr/share/man/man5/kubecertd.toml.5.gz
put 0644 "$docs/kubecertd.bash" usr/share/bash-completion/completions/kubecertd
put 0644 "$docs/_kubecertd" "$zsh/_kubecertd"
put 0644 "$docs/kubecertd.fish" usr/share/fish/vendor_completions.d/kubecertd.fish
put 0644 "$docs/kubecertd.cdx.json" "$doc/kubecertd.cdx.json"
put 0644 packaging/monitoring/alerts.yaml "$doc/monitoring/alerts.yaml"
put 0644 packaging/monitoring/dashboard.json "$doc/monitoring/dashboard.json"
put 0644 README.md "$doc/README.md"
put 0644 README.zh-CN.md "$doc/README.zh-CN.md"
case $kind in
  deb)
    packed CHANGELOG.md "$doc/changelog.gz"
    packed "$docs/changelog.Debian" "$doc/changelog.Debian.gz"
    put 0644 packaging/deb/lintian-overrides usr/share/lintian/overrides/kubecertd
    ;;
  rpm)
    put 0644 CHANGELOG.md "$doc/CHANGELOG.md"
    put 0644 LICENSE usr/share/licenses/kubecertd/LICENSE
    ;;
esac
