# shellcheck shell=bash
# Nodes to measure on, and a daemon on one, for table.sh, profile.sh and idle.sh, which say where
# the `repository` is.
: "${repository:?}"

# node ROOT: a node of kubeadm v1.20.2 with the modes that it has
node() {
  mkdir "$1"
  cp -a "$repository/tests/fixtures/kubeadm-1.20-rsa2048/." "$1"
  find "$1" -type d -exec chmod 0755 {} +
  find "$1" -type f \( -name '*.key' -o -name '*.conf' -o -name '*.yaml' \) -exec chmod 0600 {} +
  chown -R 0:0 "$1"
  printf 'apiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterConfiguration\nkubernetesVersion: v1.20.2\n' >"$1/kubeadm.yaml"
  mkdir -p "$1/etc/kubecertd"
  # No etcd runs here: its part of a set is measured by itself. Files are always backed up.
  printf '[backup]\nbefore_renewal = "off"\n[restart]\nscope = "never"\n' >"$1/etc/kubecertd/config.toml"
}

# further ROOT FROM TO: pairs that a pattern stands for, from number FROM up to, not including, TO
further() {
  local directory=$1/etc/further client=$1/etc/kubernetes/pki/apiserver-kubelet-client number
  mkdir -p "$directory"
  printf '[[certificate]]\nname = "further-*"\npath = "/etc/further/*.crt"\nkey = "/etc/further/*.key"\nca = "ca"\n' \
    >"$1/etc/kubecertd/config.toml"
  for ((number = $2; number < $3; number++)); do
    cp "$client.crt" "$directory/$number.crt"
    cp "$client.key" "$directory/$number.key"
  done
}

# start PROGRAM ROOT LOG: a daemon, whose number is in `daemon`; its first look is over once it has
# remembered it
start() {
  local state=$2/var/lib/kubecertd count
  env -u NOTIFY_SOCKET -u JOURNAL_STREAM "$1" --root "$2" run >"$3" 2>&1 &
  # shellcheck disable=SC2034 # for those who source this
  daemon=$!
  for ((count = 0; count < 300; count++)); do
    [ ! -e "$state/last-look.json" ] || return 0
    sleep 0.1
  done
  cat "$3" >&2
  return 1
}
