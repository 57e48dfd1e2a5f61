#!/bin/bash
# etcd.sh ARGUMENT...: keeps etcd running, as a unit with Restart=always would, except while
# /run/etcd.down exists.
set -u
while true; do
  while [ -e /run/etcd.down ]; do
    sleep 0.02
  done
  etcd "$@" >>/var/log/etcd.log 2>&1 &
  echo "$!" >/run/etcd.pid.new
  mv /run/etcd.pid.new /run/etcd.pid
  wait "$!"
done
