#!/usr/bin/env bash
# hosts.sh COUNT FOLDER PROGRAM [ARGUMENT...]: runs PROGRAM beside COUNT hosts of this machine, host1, host2..., each with
# its own name, network, processes, shared memory and ssh server, on one bridge. FOLDER, which exists, is for their
# files. The hosts share all file systems but /dev/shm and /run. Ends with PROGRAM's status, or with 77, saying why,
# where this machine cannot have such hosts.
#
# PROGRAM stands at the switch. It does something on a host with `nsenter $(cat FOLDER/host2) COMMAND`; cuts a host off
# with `ip link set host2 down` (`up` connects it again).
#
# HOSTS_AS_PODS=1 makes them what Kubernetes' MPI operator makes of an MPIJob named trireme in a name space of that name:
# host1 is trireme-launcher, the others are trireme-worker-0... with the names that the operator's host file has, and run
# the image's ssh server by a user without rights, uid 10001 (FOLDER/as_user COMMAND... becomes him), who has the job's
# key in FOLDER/home/.ssh, as from its Secret.
#
# Everything lives in namespaces of one process and ends with it: nothing of the system is touched.
set -euo pipefail

if [ -z "${HOSTS_STAGE:-}" ]; then
  skip() { echo "SKIPPED: $1" && exit 77; }
  [ "$(id -u)" -eq 0 ] || skip "hosts as network namespaces need root"
  for tool in ip unshare nsenter ssh ssh-keygen mpirun /usr/sbin/sshd; do
    command -v "$tool" >/dev/null || skip "found no $tool; jobs/install.sh --tests installs it"
  done
  unshare --net --mount --pid --fork --mount-proc sh -c 'ip link add bridge type bridge && ip link add host type veth' \
    2>/dev/null || skip "this machine refuses network namespaces, bridges or veth links"
  HOSTS_STAGE=switch exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi

if [ "$HOSTS_STAGE" = host ]; then # a host's first process: FOLDER NUMBER HOSTNAME
  unset HOSTS_STAGE
  hostname "$3"
  mount -t tmpfs tmpfs /dev/shm
  mount -t tmpfs tmpfs /run
  ip link set lo up
  server=(/usr/sbin/sshd -D -f "$1/etc/sshd_config" -E "$1/host$2.log")
  if [ -n "${HOSTS_AS_PODS:-}" ]; then exec "$1/as_user" "${server[@]}"; fi
  mkdir -p /run/sshd
  exec "${server[@]}"
fi

unset HOSTS_STAGE
count=$1 folder=$2
shift 2
mkdir "$folder/etc"
name_of() { echo "host$1"; } # the host's own
names_of() { name_of "$1"; } # by which it is reached
if [ -z "${HOSTS_AS_PODS:-}" ]; then
  port=22
  ssh-keygen -q -t ed25519 -N '' -f "$folder/etc/key"
  cat >"$folder/etc/sshd_config" <<END
HostKey $folder/etc/key
AuthorizedKeysFile $folder/etc/key.pub
StrictModes no
UsePAM no
PidFile none
PermitRootLogin yes
END
  cat >"$folder/etc/ssh_config" <<END
IdentityFile $folder/etc/key
UserKnownHostsFile /dev/null
StrictHostKeyChecking no
LogLevel ERROR
END
else
  port=2222
  container=$(cd "$(dirname "$0")/../../jobs/container" && pwd)
  name_of() { if [ "$1" -eq 1 ]; then echo trireme-launcher; else echo "trireme-worker-$(($1 - 2))"; fi; }
  names_of() { echo "$(name_of "$1").trireme.trireme.svc $(name_of "$1")"; }
  mkdir -p "$folder/home/.ssh"
  ssh-keygen -q -t ecdsa -N '' -f "$folder/home/.ssh/id_rsa"
  mv "$folder/home/.ssh/id_rsa.pub" "$folder/home/.ssh/authorized_keys"
  chmod 0644 "$folder"/home/.ssh/* # of root, as a Secret's files are; ssh minds its user's only
  sed "s|/home/trireme|$folder/home|" "$container/sshd_config" >"$folder/etc/sshd_config"
  cp "$container/ssh_config" "$folder/etc/ssh_config"
  { grep -v :10001: /etc/passwd && echo "trireme:x:10001:10001::$folder/home:/bin/bash"; } >"$folder/etc/passwd"
  mount --bind "$folder/etc/passwd" /etc/passwd
  cat >"$folder/as_user" <<END
#!/bin/sh
exec setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  env HOME="$folder/home" USER=trireme "\$@"
END
  chmod +x "$folder/as_user"
  chown 10001:10001 "$folder"
fi
{
  echo "127.0.0.1 localhost"
  for ((i = 1; i <= count; ++i)); do echo "10.77.0.$i $(names_of $i)"; done
} >"$folder/etc/hosts"
sed 's/^root:[^:]*:/root:*:/' /etc/shadow >"$folder/etc/shadow" # sshd refuses an account that is locked
mount --bind "$folder/etc/hosts" /etc/hosts
mount --bind "$folder/etc/ssh_config" /etc/ssh/ssh_config
mount --bind "$folder/etc/shadow" /etc/shadow

ip link set lo up
ip link add bridge type bridge
ip link set bridge up
for ((i = 1; i <= count; ++i)); do
  name=$(name_of "$i")
  HOSTS_STAGE=host unshare --net --uts --ipc --mount --pid --fork --kill-child --mount-proc "$0" \
    "$folder" "$i" "$name" &
  until first=$(pgrep -P $!); do kill -0 $!; done
  echo "--wd=. --target $first --net --uts --ipc --mount --pid" >"$folder/host$i"
  ip link add "host$i" type veth peer name eth0 netns "$first"
  ip link set "host$i" master bridge up
  nsenter --net --target "$first" ip address add "10.77.0.$i/24" dev eth0
  nsenter --net --target "$first" ip link set eth0 up
  until nsenter --net --target "$first" bash -c ": </dev/tcp/10.77.0.$i/$port" 2>/dev/null; do kill -0 $!; done
done
status=0
"$@" || status=$?
exit $status
