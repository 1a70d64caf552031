# shellcheck shell=bash
# A Slurm cluster that vanishes with the process that made it: slurmctld, munged, and one slurmd a node. Nodes are
# namespaces of network and host name on a bridge; all of it lives in namespaces of processes, mounts and network of its
# own, so that nothing of the machine's is touched and clusters do not meet.
# To be sourced; then `own_namespaces "$0" "$@"`, which starts the script again inside, and `start_cluster NODE...`,
# which needs `within` of tests/jobs/support.sh.

missing() {
  local program
  [ "$(id -u)" -eq 0 ] || { echo "right to make namespaces, which root has" && return; }
  for program in slurmctld slurmd munged srun sbatch mpirun ip unshare nsenter; do
    PATH=$PATH:/usr/sbin command -v $program >/dev/null ||
      { echo "$program; jobs/install.sh --tests installs it" && return; }
  done
  unshare --pid --fork --kill-child --mount-proc --net --uts true 2>/dev/null || echo "right to make namespaces"
}

# Ends with 77, saying why, where that cannot be. Sets folder: empty, and seen by this process and its children only.
own_namespaces() {
  local lacking
  if [ -z "${TRIREME_IN_NAMESPACES:-}" ]; then
    lacking=$(missing)
    if [ -n "$lacking" ]; then
      echo "SKIPPED: found no $lacking"
      exit 77
    fi
    export TRIREME_IN_NAMESPACES=yes
    exec unshare --pid --fork --kill-child --mount-proc --net --uts "$@"
  fi
  export PATH=$PATH:/usr/sbin
  folder=/run
  mount -t tmpfs -o mode=755 tmpfs "$folder"
}

# node_run NODE COMMAND...: runs it on a node. Its folder for temporary files is its own; and so is its shared memory, in
# which Open MPI names files after host and job: those of another cluster have the same names.
node_run() {
  # shellcheck disable=SC2016  # the words of the inner shell
  nsenter --net=/run/netns/"$1" unshare --uts --mount \
    sh -c 'hostname "$0" && mount -t tmpfs tmpfs "$TMPDIR" && mount -t tmpfs tmpfs /dev/shm && exec "$@"' "$@"
}

add_node() {
  local name=$1 address=$2
  ip netns add "$name"
  ip link add "$name" type veth peer name eth0 netns "$name"
  ip link set "$name" master bridge up
  ip -n "$name" link set lo up
  ip -n "$name" link set eth0 up
  ip -n "$name" address add "10.77.0.$address/24" dev eth0
  echo "10.77.0.$address $name" >>"$folder"/hosts
}

configure_slurm() {
  mkdir "$folder"/state "$folder"/tmp
  cat >"$folder"/slurm.conf <<END
ClusterName=trireme
SlurmctldHost=controller
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/tmp/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.%n.log
TmpFS=$folder/tmp
SlurmdTimeout=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2
SlurmdParameters=config_overrides
KillWait=20
MinJobAge=3600
ReturnToService=2
NodeName=$(IFS=, && echo "$*") CPUs=8
PartitionName=all Nodes=ALL Default=YES State=UP
END
  export SLURM_CONF=$folder/slurm.conf TMPDIR=$folder/tmp
}

# start_cluster NODE...: returns when all nodes are idle
start_cluster() {
  local node address=1
  trap '[ $? -eq 0 ] || { scontrol show job && tail -n 30 "$folder"/slurm*.log; }' EXIT
  echo "127.0.0.1 localhost" >"$folder"/hosts
  echo "10.77.0.254 controller" >>"$folder"/hosts
  hostname controller
  ip link set lo up
  ip link add bridge type bridge
  ip link set bridge up
  ip address add 10.77.0.254/24 dev bridge
  for node in "$@"; do add_node "$node" $((address++)); done
  mount --bind "$folder"/hosts /etc/hosts
  configure_slurm "$@"

  (umask 077 && head -c 1024 /dev/urandom >"$folder"/munge.key)
  munged --key-file="$folder"/munge.key --socket="$folder"/munge.socket --log-file="$folder"/munged.log \
    --pid-file="$folder"/munged.pid --seed-file="$folder"/munge.seed
  slurmctld
  for node in "$@"; do start_node "$node"; done
  within 30 nodes_are_idle $#
}

start_node() { node_run "$1" slurmd; }
# A power cut: all processes on the node end at once. Some may end, and others begin, between a look and a kill.
kill_node() {
  local left
  while left=$(ip netns pids "$1") && [ -n "$left" ]; do
    # shellcheck disable=SC2086  # several numbers
    kill -KILL $left 2>/dev/null || true
  done
}
nodes_are_idle() { [ "$(sinfo -h -N -t idle -o %N | wc -l)" -eq "$1" ]; }
