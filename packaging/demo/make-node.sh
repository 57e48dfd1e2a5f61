#!/bin/bash
# make-node.sh ROOT CLIENT_PORT PEER_PORT METRICS_PORT
#
# Lays out below ROOT the files of a control-plane node that kubeadm set up a year ago: three CAs,
# the eleven credentials that kubeadm manages, the service account key pair, kubelet.conf with the
# kubelet's own certificate, and four static pod manifests. etcd listens on 127.0.0.1 on the given
# ports. Names, subjects, SANs, usages, key types and modes are kubeadm's. The script makes every
# key; they are test keys and protect nothing.
#
# Ten credentials end in 8 to 16 days. front-proxy-client has 300 days left and is not due.
set -euo pipefail
umask 022

node=demo-cp1
address=10.0.0.11
endpoint=https://k8s-api.example.internal:6443
here=$(cd "$(dirname "$0")" && pwd)

if [ $# -ne 4 ]; then
  echo "usage: make-node.sh ROOT CLIENT_PORT PEER_PORT METRICS_PORT" >&2
  exit 2
fi
root=$1 client_port=$2 peer_port=$3 metrics_port=$4
kubernetes=$root/etc/kubernetes
pki=$kubernetes/pki

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# `openssl ca` is the one openssl command that accepts a start in the past in every version. This is
# all that it needs.
cat >"$work/ca.cnf" <<'CONFIG'
[ca]
default_ca = here
[here]
database = $ENV::WORK/index
serial = $ENV::WORK/serial
new_certs_dir = $ENV::WORK
default_md = sha256
policy = any
unique_subject = no
preserve = yes
[any]
organizationName = optional
commonName = supplied
[req]
distinguished_name = dn
string_mask = nombstr
[dn]
CONFIG
export WORK=$work

# quiet COMMAND...: shows what the command said only when it failed
quiet() {
  "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

# new_key FILE: RSA-2048 in PKCS#1 (`RSA PRIVATE KEY`), mode 0600
new_key() {
  (umask 077 && quiet openssl genrsa -traditional -out "$1" 2048)
}

# days N: the moment N days from now, as openssl wants it
days() {
  date -u -d "$1 days" +%Y%m%d%H%M%SZ
}

# sign KEY SUBJECT START END EXTENSIONS OUT SIGNER...: one certificate; SIGNER are the options of
# `openssl ca` that name the signer
sign() {
  local key=$1 subject=$2 start=$3 end=$4 extensions=$5 out=$6
  shift 6
  : >"$work/index"
  printf '%016x\n' $((0x$(openssl rand -hex 8) & 0x7fffffffffffffff | 0x4000000000000000)) >"$work/serial"
  printf '%s\n' "$extensions" >"$work/extensions"
  quiet openssl req -new -config "$work/ca.cnf" -key "$key" -subj "$subject" -out "$work/request"
  quiet openssl ca -batch -notext -config "$work/ca.cnf" -in "$work/request" -extfile "$work/extensions" \
    -startdate "$start" -enddate "$end" -out "$out" "$@"
}

# authority BASE CN: a self-signed CA of ten years, BASE.crt and BASE.key
authority() {
  new_key "$1.key"
  sign "$1.key" "/CN=$2" "$(days -400)" "$(days 3250)" "keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
basicConstraints = critical, CA:TRUE
subjectKeyIdentifier = hash
authorityKeyIdentifier = none
subjectAltName = DNS:$2" "$1.crt" -selfsign -keyfile "$1.key"
}

# leaf BASE CA SUBJECT USAGES DAYS_LEFT [SANS]: a certificate for 365 days, of which DAYS_LEFT are
# left
leaf() {
  local base=$1 ca=$2 subject=$3 usages=$4 left=$5 sans=${6:-}
  new_key "$base.key"
  sign "$base.key" "$subject" "$(days $((left - 365)))" "$(days "$left")" "keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = $usages
basicConstraints = critical, CA:FALSE
subjectKeyIdentifier = none
authorityKeyIdentifier = keyid
${sans:+subjectAltName = $sans}" "$base.crt" -cert "$pki/$ca.crt" -keyfile "$pki/$ca.key"
}

# kubeconfig_head USER SERVER: a kubeconfig up to and with `user:`
kubeconfig_head() {
  cat <<KUBECONFIG
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: $(base64 -w0 "$pki/ca.crt")
    server: $2
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: $1
  name: $1@kubernetes
current-context: $1@kubernetes
kind: Config
users:
- name: $1
  user:
KUBECONFIG
}

# kubeconfig NAME USER SUBJECT SERVER DAYS_LEFT: a kubeconfig with its credential embedded
kubeconfig() {
  leaf "$work/embedded" ca "$3" clientAuth "$5"
  {
    kubeconfig_head "$2" "$4"
    echo "    client-certificate-data: $(base64 -w0 "$work/embedded.crt")"
    echo "    client-key-data: $(base64 -w0 "$work/embedded.key")"
  } >"$work/kubeconfig"
  install -m 0600 "$work/kubeconfig" "$kubernetes/$1"
}

mkdir -p "$pki/etcd" "$root/var/lib/kubelet/pki"
install -d -m 0700 "$kubernetes/manifests" "$root/var/lib/etcd"

authority "$pki/ca" kubernetes
authority "$pki/etcd/ca" etcd-ca
authority "$pki/front-proxy-ca" front-proxy-ca

services=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
peers="DNS:$node,DNS:localhost,IP:$address,IP:127.0.0.1,IP:::1"
leaf "$pki/apiserver" ca /CN=kube-apiserver serverAuth 12 \
  "DNS:$node,DNS:k8s-api.example.internal,$services,IP:10.96.0.1,IP:$address"
leaf "$pki/apiserver-kubelet-client" ca "/O=kubeadm:cluster-admins/CN=kube-apiserver-kubelet-client" clientAuth 12
leaf "$pki/front-proxy-client" front-proxy-ca /CN=front-proxy-client clientAuth 300
leaf "$pki/apiserver-etcd-client" etcd/ca /CN=kube-apiserver-etcd-client clientAuth 12
leaf "$pki/etcd/server" etcd/ca "/CN=$node" serverAuth,clientAuth 8 "$peers"
leaf "$pki/etcd/peer" etcd/ca "/CN=$node" serverAuth,clientAuth 8 "$peers"
leaf "$pki/etcd/healthcheck-client" etcd/ca /CN=kube-etcd-healthcheck-client clientAuth 8

kubeconfig admin.conf kubernetes-admin "/O=kubeadm:cluster-admins/CN=kubernetes-admin" "$endpoint" 16
kubeconfig super-admin.conf kubernetes-super-admin "/O=system:masters/CN=kubernetes-super-admin" "$endpoint" 16
kubeconfig controller-manager.conf system:kube-controller-manager /CN=system:kube-controller-manager "https://$address:6443" 12
kubeconfig scheduler.conf system:kube-scheduler /CN=system:kube-scheduler "https://$address:6443" 12

new_key "$pki/sa.key"
quiet openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub"
chmod 0600 "$pki/sa.pub"

# The kubelet manages its own certificate: key and certificate in one file behind a link, which
# kubelet.conf names.
kubelet=/var/lib/kubelet/pki
leaf "$work/kubelet" ca "/O=system:nodes/CN=system:node:$node" clientAuth 200
dated=kubelet-client-$(date -u -d '-165 days' +%Y-%m-%d-%H-%M-%S).pem
cat "$work/kubelet.crt" "$work/kubelet.key" >"$work/kubelet.pem"
install -m 0600 "$work/kubelet.pem" "$root$kubelet/$dated"
ln -s "$kubelet/$dated" "$root$kubelet/kubelet-client-current.pem"
{
  kubeconfig_head "system:node:$node" "https://$address:6443"
  echo "    client-certificate: $kubelet/kubelet-client-current.pem"
  echo "    client-key: $kubelet/kubelet-client-current.pem"
} >"$work/kubeconfig"
install -m 0600 "$work/kubeconfig" "$kubernetes/kubelet.conf"
cat >"$root/var/lib/kubelet/config.yaml" <<'KUBELET'
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
rotateCertificates: true
staticPodPath: /etc/kubernetes/manifests
KUBELET

for manifest in "$here"/manifests/*.yaml.in; do
  sed -e "s/@NODE@/$node/g" -e "s/@ADDRESS@/$address/g" -e "s/@CLIENT_PORT@/$client_port/g" \
    -e "s/@PEER_PORT@/$peer_port/g" -e "s/@METRICS_PORT@/$metrics_port/g" "$manifest" >"$work/manifest"
  install -m 0600 "$work/manifest" "$kubernetes/manifests/$(basename "$manifest" .in)"
done

# The files are as old as the certificates: kubecertd takes a fresh file for another process that
# renews.
find "$root" -type f -exec touch -d '-353 days' {} +
