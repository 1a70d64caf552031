#!/bin/bash
# probe.sh live|ready: whether this worker's trainer is well, by its /healthz, or has taken its first step, by its /readyz.
# A worker to which no ranks were sent yet is as well and ready as its ssh server: the launcher waits for that.
set -euo pipefail
monitor=${TRIREME_MONITOR_PORT:-9400}
case $1 in
  live) path=/healthz ;;
  ready) path=/readyz ;;
  *) echo "probe.sh: expected live or ready, found '$1'" >&2 && exit 2 ;;
esac
if ! pgrep -x trireme >/dev/null; then
  exec 3<>"/dev/tcp/127.0.0.1/${TRIREME_SSH_PORT:-2222}"
  exit 0
fi
exec 3<>"/dev/tcp/127.0.0.1/$monitor"
printf 'GET %s HTTP/1.0\r\n\r\n' "$path" >&3
read -r _ status _ <&3
[ "$status" = 200 ] || { echo "probe.sh: $path says $status" >&2 && exit 1; }
