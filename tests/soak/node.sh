#!/bin/bash
# node.sh ROOT NAME BINARY: process 1 of a node's namespaces. Makes ROOT the root of the node, says
# so, and ends the node when its standard input is closed. It reaps the orphans of the node's
# programs, as any shell does.
set -euo pipefail
root=$1 name=$2 binary=$3

hostname "$name"
mount --bind "$root" "$root"
mkdir -p "$root"/{proc,dev,usr,tmp,run,opt,root}
for link in bin sbin lib lib64; do
  ln -sfn "usr/$link" "$root/$link"
done
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind -o ro /usr "$root/usr"
touch "$root/opt/kubecertd"
mount --bind "$binary" "$root/opt/kubecertd"
ip link set lo up
echo ready
exec chroot "$root" /bin/bash -c 'read -r _ || true'
