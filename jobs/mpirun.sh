#!/usr/bin/env bash
# mpirun.sh RANKS COMMAND [ARGUMENT...]: trireme on ranks of this machine, more ranks than cores included.
#   jobs/mpirun.sh 4 train --config jobs/configs/quickstart.ini --parallel.pipeline=2
# Ctrl-C or SIGTERM stops training with everything saved (status 75). Threads: every rank takes its share of the cores;
# OMP_NUM_THREADS overrides. Several machines: mpirun's own --hostfile goes into MPIRUN_ARGUMENTS.
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
if [ "$ranks" -gt "$(nproc)" ]; then
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
fi

# mpirun kills its ranks at SIGINT and SIGTERM, but passes SIGUSR1 on, at which they save. Its own session keeps the
# terminal's Ctrl-C away from it.
# shellcheck disable=SC2086  # the variable holds several words
setsid mpirun -n "$ranks" --bind-to none --quiet ${MPIRUN_ARGUMENTS:-} "$trireme" "$@" &
mpirun=$!
trap 'kill -USR1 "$mpirun" 2>/dev/null || true' INT TERM
status=0
wait "$mpirun" || status=$?
# A signal ends `wait` early.
while kill -0 "$mpirun" 2>/dev/null; do
  status=0
  wait "$mpirun" || status=$?
done
exit "$status"
