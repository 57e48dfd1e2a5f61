#!/bin/bash
# restart.sh READER: the command of a [[reader]]. Writes a file to /events when it begins and when
# the new process is well, ends etcd, and waits as `systemctl restart` does for a unit that says
# when it is ready.
set -eu
reader=$1
touch "/events/restarting-$reader-$$"
old=$(cat /run/etcd.pid)
# One that has ended already is started by who keeps it running.
kill "$old" 2>/dev/null || true
pki=/etc/kubernetes/pki/etcd
until [ "$(cat /run/etcd.pid)" != "$old" ] &&
  ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.1:2379 --cacert "$pki/ca.crt" --cert "$pki/healthcheck-client.crt" \
    --key "$pki/healthcheck-client.key" --command-timeout 2s endpoint health >/dev/null 2>&1; do
  if [ "$SECONDS" -gt 20 ]; then
    exit 1
  fi
  sleep 0.05
done
touch "/events/restarted-$reader-$$"
