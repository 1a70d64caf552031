#!/usr/bin/env bash
# mpirun.sh RANKS COMMAND [ARGUMENT...]: trireme on ranks of this machine, more ranks than cores included.
#   jobs/mpirun.sh 4 train --config jobs/configs/quickstart.ini --parallel.pipeline=2
# MPIRUN_QUIET= lets mpirun tell which rank of which host ended first, and how, and that a stop on request is status 75.
# Ctrl-C or SIGTERM stops training with everything saved (status 75). Threads: every rank takes its share of the cores;
# OMP_NUM_THREADS overrides. Several machines: mpirun's own --hostfile goes into MPIRUN_ARGUMENTS; supervise.sh, which
# restarts what fails, does that.
set -euo pipefail
ranks=${1:?usage: mpirun.sh RANKS COMMAND [ARGUMENT...]}
shift
trireme=${TRIREME:-$(dirname "$0")/../build/trireme}
# An unpacked bundle brings its own mpirun.
bundled=$(cd "$(dirname "$0")/../bin" 2>/dev/null && pwd) || true
PATH=${bundled:+$bundled:}$PATH
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# A host file tells for itself how many ranks a host bears.
if [[ ${MPIRUN_ARGUMENTS:-} != *hostfile* ]] && [ "$ranks" -gt "$(nproc)" ]; then
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
fi
# Ranks of one host talk through its memory, and listen to nobody else. (mpirun itself opens its control ports even so.)
if [ -z "${MPIRUN_ARGUMENTS:-}" ]; then
  export OMPI_MCA_btl="${OMPI_MCA_btl:-self,vader}"
fi

# mpirun kills its ranks at SIGINT and SIGTERM, but passes SIGUSR1 on, at which they save. Its own session keeps the
# terminal's Ctrl-C away from it.
mpirun='' interrupted=''
trap 'interrupted=1; [ -z "$mpirun" ] || kill -USR1 "$mpirun" 2>/dev/null || true' INT TERM
# shellcheck disable=SC2086  # the variable holds several words
setsid mpirun -n "$ranks" --bind-to none ${MPIRUN_QUIET---quiet} -x OMP_WAIT_POLICY ${OMP_NUM_THREADS:+-x OMP_NUM_THREADS} \
  ${MPIRUN_ARGUMENTS:-} "$trireme" "$@" &
mpirun=$!
[ -z "$interrupted" ] || kill -USR1 "$mpirun"

# When the job fails, mpirun tells every host to end its ranks and waits for the answer: from a host that was cut off,
# until the kernel gives up sending, a quarter of an hour later. Its session holds its ranks of this host and its ssh.
# MPIRUN_PATIENCE: seconds.
end_when_left_alone() {
  local seen='' alone=0
  while sleep 1 >/dev/null 2>&1; do
    if pgrep --session "$mpirun" --exact "$(basename "$trireme")" >/dev/null; then
      seen=1 alone=0
    elif [ -n "$seen" ] && [ $((++alone)) -ge "${MPIRUN_PATIENCE:-30}" ]; then
      echo "mpirun.sh: its ranks here have ended, but mpirun has waited $alone s for other hosts: ended" >&2
      pkill -KILL --session "$mpirun"
    fi
  done
}
end_when_left_alone &
trap 'kill $! 2>/dev/null || true' EXIT
# A signal ends `wait` early.
interrupted=1
while [ -n "$interrupted" ]; do
  interrupted='' status=0
  wait "$mpirun" || status=$?
done
exit "$status"
