#!/bin/bash
# expire.sh SECONDS: on the node, signs every leaf again with its own CA, so that it ends SECONDS
# from now. Keys and names stay.
# The certificate that the kubelet logs in with is among them. No process is told.
set -euo pipefail
cd /etc/kubernetes/pki
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
faketime=$(compgen -G '/usr/lib/*/faketime/libfaketime.so.1')

# sign CA CERTIFICATE KEY: prints the new certificate
sign() {
  openssl x509 -x509toreq -in "$2" -signkey "$3" -copy_extensions copyall -out "$work/request" 2>/dev/null
  # -days counts whole days: the clock is set back so that one day ends when it should.
  LD_PRELOAD=$faketime FAKETIME=-$((86400 - seconds)) openssl x509 -req -in "$work/request" -CA "$1.crt" -CAkey "$1.key" -days 1 \
    -copy_extensions copyall -set_serial "0x$(openssl rand -hex 8)" 2>/dev/null
}

# into FILE: replaces it in one rename, with the old one's mode
into() {
  cat >"$work/new"
  install -m "$(stat -c %a "$1")" "$work/new" "$(dirname "$1")/.e2e"
  mv "$(dirname "$1")/.e2e" "$1"
}

seconds=$1
for leaf in ca:apiserver ca:apiserver-kubelet-client front-proxy-ca:front-proxy-client etcd/ca:apiserver-etcd-client \
  etcd/ca:etcd/server etcd/ca:etcd/peer etcd/ca:etcd/healthcheck-client; do
  sign "${leaf%%:*}" "${leaf#*:}.crt" "${leaf#*:}.key" | into "${leaf#*:}.crt"
done
for conf in ../admin.conf ../controller-manager.conf ../scheduler.conf; do
  for part in certificate key; do
    sed -n "s/^ *client-$part-data: *//p" "$conf" | base64 -d >"$work/$part"
  done
  sign ca "$work/certificate" "$work/key" >"$work/signed"
  sed "s/^\( *client-certificate-data:\).*/\1 $(base64 -w0 "$work/signed")/" "$conf" | into "$conf"
done
kubelet=$(readlink -f /var/lib/kubelet/pki/kubelet-client-current.pem)
{ sign ca "$kubelet" "$kubelet" && sed -n '/PRIVATE KEY/,/PRIVATE KEY/p' "$kubelet"; } | into "$kubelet"
