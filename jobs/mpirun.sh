#!/usr/bin/env bash
# mpirun.sh RANKS COMMAND [ARGUMENT...]: trireme on ranks of this machine, more ranks than cores included.
#   jobs/mpirun.sh 4 train --config jobs/configs/quickstart.ini --parallel.pipeline=2
# Threads: every rank takes its share of the cores; OMP_NUM_THREADS overrides. Several machines: give mpirun's own
# --hostfile through MPIRUN_ARGUMENTS, and the same path of the executable and data everywhere.
set -euo pipefail
ranks=${1:?usage: mpirun.sh RANKS COMMAND [ARGUMENT...]}
shift
trireme=${TRIREME:-$(dirname "$0")/../build/trireme}
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
if [ "$ranks" -gt "$(nproc)" ]; then
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
fi
# shellcheck disable=SC2086  # the variable holds several words
exec mpirun -n "$ranks" --bind-to none ${MPIRUN_ARGUMENTS:-} "$trireme" "$@"
