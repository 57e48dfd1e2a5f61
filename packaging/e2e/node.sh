#!/bin/bash
# node.sh PARTS KEEP...: a Kubernetes v1.20.2 control-plane node of its own on this machine, made by
# kubeadm's own phases.
#
# It lives in namespaces (mount, network, process, host name, IPC). Its root is an overlay in memory
# over this machine's, so it can change nothing here and leaves nothing behind; the directories KEEP
# (the repository, say) are seen as they are, read-only. The only traces outside are the cgroups
# below NAME, which are removed at the end.
#
# Prints `node NAME PID` when the kubelet was started: PID is the node's process 1 as this machine
# sees it, and `nsenter -a -t PID COMMAND` runs a command there. The node lives until standard input
# ends (also when the process that holds it is killed): then its process 1 ends, and the kernel ends
# every other process with it. What it says goes to standard error.
#
# On the node: /run/e2e/{start,stop,restart}-kubelet, /run/e2e/kubelet.pid,
# /var/log/{kubelet,containerd}.log.
set -euo pipefail

name=${KUBECERTD_E2E_NAME:-kubecertd-e2e.$$}
address=10.0.0.11
version=v1.20.2
hierarchies=()

outside() {
  local inner
  trap remove_cgroups EXIT
  make_cgroups
  # Duplicated, because a command in the background gets no standard input otherwise.
  KUBECERTD_E2E_NAME=$name unshare --mount --net --pid --fork --kill-child --uts --ipc --propagation private \
    "$0" --inside "$@" <&0 &
  inner=$!
  wait "$inner"
}

# The kubelet makes the cgroups of its pods below this one, in every hierarchy (one with cgroup v2).
make_cgroups() {
  local root directory
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    hierarchies=(/sys/fs/cgroup)
  else
    for root in /sys/fs/cgroup/*/; do
      [ -L "${root%/}" ] || [ ! -e "$root/cgroup.procs" ] || hierarchies+=("${root%/}")
    done
  fi
  for root in "${hierarchies[@]}"; do
    directory=$root/$name
    mkdir "$directory"
    if [ -e "$directory/cpuset.mems" ] && [ ! -e "$directory/cgroup.controllers" ]; then
      cat "$root/cpuset.cpus" >"$directory/cpuset.cpus"
      cat "$root/cpuset.mems" >"$directory/cpuset.mems"
    fi
    if [ "$root" = /sys/fs/cgroup ]; then
      sed 's/[^ ]*/+&/g' "$root/cgroup.controllers" >"$root/cgroup.subtree_control" || true
      sed 's/[^ ]*/+&/g' "$directory/cgroup.controllers" >"$directory/cgroup.subtree_control"
    fi
  done
}

remove_cgroups() {
  local root end=$((SECONDS + 20))
  for root in "${hierarchies[@]}"; do
    # A cgroup can be removed when the last of its processes is gone, which takes the kernel a
    # moment.
    until find "$root/$name" -depth -type d -exec rmdir {} + 2>/dev/null || [ ! -e "$root/$name" ]; do
      [ "$SECONDS" -lt "$end" ] || { echo "node: cannot remove $root/$name" >&2; break; }
      sleep 0.1
    done
  done
}

inside() {
  local parts=$1 outer_pid keep
  # The mounted /proc is still this machine's: it tells the number that this machine knows us by,
  # awk's parent.
  outer_pid=$(exec awk '$1 == "PPid:" { print $2 }' /proc/self/status)
  mount -t tmpfs -o mode=0755 tmpfs /mnt
  mkdir /mnt/upper /mnt/work /mnt/root
  mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
  for keep in /sys /dev; do
    mount --rbind "$keep" "/mnt/root$keep"
  done
  mount -t proc proc /mnt/root/proc
  # Overlay on overlay does not go, so containers get a real file system; and /run, /tmp are this
  # node's own.
  for keep in /run /tmp /var/lib/containerd /var/lib/kubelet /var/lib/etcd /var/log/pods; do
    mkdir -p "/mnt/root$keep"
    mount -t tmpfs -o mode=0755 tmpfs "/mnt/root$keep"
  done
  chmod 1777 /mnt/root/tmp
  chmod 0700 /mnt/root/var/lib/etcd
  for keep in "$@"; do
    mkdir -p "/mnt/root$keep"
    mount --bind "$keep" "/mnt/root$keep"
    mount -o remount,bind,ro "/mnt/root$keep"
  done
  cd /mnt/root
  pivot_root . mnt
  cd /
  umount -l /mnt
  mount --make-rshared /

  export PATH=$parts/bin:/usr/sbin:/usr/bin:/sbin:/bin
  mkdir -p /run/e2e
  keep_sysctls
  network
  start_containerd
  kubeadm_phases
  images | ctr -n k8s.io images import --no-unpack - >/dev/null
  kubelet_scripts
  /run/e2e/start-kubelet
  echo "node $name $outer_pid"
  # bash reaps what the containers leave behind.
  read -r _ || true
}

# The kubelet sets kernel parameters of the whole machine at its start: here it sets files.
keep_sysctls() {
  local parameter
  for parameter in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    mkdir -p "/run/e2e/sysctl/${parameter%/*}"
    cat "/proc/sys/$parameter" >"/run/e2e/sysctl/$parameter"
    mount --bind "/run/e2e/sysctl/$parameter" "/proc/sys/$parameter"
  done
}

network() {
  hostname node1
  echo "127.0.0.1 localhost
$address node1" >/etc/hosts
  busybox ip link set lo up
  # Both ends are here: veth0 and veth1, the kernel's own names.
  busybox ip link add type veth
  busybox ip address add $address/24 dev veth0
  busybox ip link set veth0 up
  busybox ip link set veth1 up
  busybox ip route add default dev veth0
}

start_containerd() {
  mkdir -p /etc/containerd
  cat >/etc/containerd/config.toml <<END
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.local/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
END
  setsid containerd >/var/log/containerd.log 2>&1 &
  echo $! >/run/e2e/containerd.pid
  local end=$((SECONDS + 30))
  until ctr version >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { tail /var/log/containerd.log >&2; return 1; }
    sleep 0.1
  done
}

kubeadm_phases() {
  rm -rf /etc/kubernetes
  cat >/etc/kubeadm.yaml <<END
apiVersion: kubeadm.k8s.io/v1beta2
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $address, bindPort: 6443}
nodeRegistration:
  name: node1
  criSocket: /run/containerd/containerd.sock
  kubeletExtraArgs:
    node-ip: $address
    cgroup-root: /$name
    pod-infra-container-image: registry.local/pause:1
---
apiVersion: kubeadm.k8s.io/v1beta2
kind: ClusterConfiguration
kubernetesVersion: $version
imageRepository: registry.local
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
oomScoreAdj: 0
enforceNodeAllocatable: []
failSwapOn: false
evictionHard: {memory.available: "0%", nodefs.available: "0%", imagefs.available: "0%"}
END
  kubeadm init phase certs all --config /etc/kubeadm.yaml >&2
  kubeadm init phase kubeconfig all --config /etc/kubeadm.yaml >&2
  kubeadm init phase kubelet-start --config /etc/kubeadm.yaml >&2
  kubeadm init phase control-plane all --config /etc/kubeadm.yaml >&2
  kubeadm init phase etcd local --config /etc/kubeadm.yaml >&2
  kubelet_credential
}

# As `kubeadm init` leaves it: the kubelet's credential in a file that the kubelet itself replaces,
# and kubelet.conf naming that file.
kubelet_credential() {
  local pki=/var/lib/kubelet/pki conf=/etc/kubernetes/kubelet.conf file
  file=$pki/kubelet-client-$(date +%Y-%m-%d-%H-%M-%S).pem
  mkdir -p "$pki"
  (
    umask 077
    for data in client-certificate-data client-key-data; do
      sed -n "s/^ *$data: *//p" "$conf" | base64 -d
    done >"$file"
  )
  ln -s "$file" "$pki/kubelet-client-current.pem"
  kubeadm init phase kubelet-finalize experimental-cert-rotation --config /etc/kubeadm.yaml >&2
}

# One archive with an image for each static pod: a layer with the one program, and for etcd and
# busybox what they need.
images() {
  local work=/tmp/images tags image=0 manifest='' tag program layer digest
  mkdir -p "$work"
  tags=$(sed -n 's/^ *image: *//p' /etc/kubernetes/manifests/*.yaml)
  for tag in $tags registry.local/pause:1; do
    image=$((image + 1))
    layer=$work/root.$image
    program=${tag##*/}
    program=${program%%:*}
    mkdir -p "$layer"/{usr/local/bin,tmp,etc}
    case $program in
      pause) install "$(command -v busybox)" "$layer/usr/local/bin/" ;;
      etcd) with_libraries "$(command -v etcd)" "$layer" ;;
      *) install "$(command -v "$program")" "$layer/usr/local/bin/" ;;
    esac
    tar -C "$layer" --owner=0 --group=0 -cf "$work/$image.tar" .
    rm -rf "$layer"
    digest=$(sha256sum <"$work/$image.tar" | cut -d' ' -f1)
    cat >"$work/$image.json" <<END
{"architecture": "$(architecture)", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]},
 "config": {"Env": ["PATH=/usr/local/bin"]$([ "$program" != pause ] || echo ', "Entrypoint": ["busybox", "sleep", "infinity"]')}}
END
    manifest+="${manifest:+,}{\"Config\": \"$image.json\", \"RepoTags\": [\"$tag\"], \"Layers\": [\"$image.tar\"]}"
  done
  echo "[$manifest]" >"$work/manifest.json"
  tar -C "$work" -cf - .
  rm -rf "$work"
}

architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}

# with_libraries PROGRAM ROOT
with_libraries() {
  local library
  install "$1" "$2/usr/local/bin/"
  ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
    install -D "$library" "$2$library"
  done
}

kubelet_scripts() {
  # KUBELET_KUBEADM_ARGS comes from kubeadm's flags file, as in kubeadm's own systemd unit.
  cat >/run/e2e/start-kubelet <<END
#!/bin/bash
export PATH=$PATH
. /var/lib/kubelet/kubeadm-flags.env
setsid kubelet --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml \$KUBELET_KUBEADM_ARGS \
  >>/var/log/kubelet.log 2>&1 </dev/null &
echo \$! >/run/e2e/kubelet.pid
END
  cat >/run/e2e/stop-kubelet <<'END'
#!/bin/bash
pid=$(cat /run/e2e/kubelet.pid)
kill "$pid" 2>/dev/null || exit 0
for _ in {1..100}; do
  [ -d "/proc/$pid" ] || exit 0
  sleep 0.1
done
kill -KILL "$pid" 2>/dev/null || true
END
  cat >/run/e2e/restart-kubelet <<'END'
#!/bin/bash
/run/e2e/stop-kubelet && /run/e2e/start-kubelet
END
  chmod +x /run/e2e/*-kubelet
}

if [ "${1:-}" = --inside ]; then
  shift
  inside "$@"
else
  outside "$@"
fi
