#!/usr/bin/env bash
# mpirun.sh RANKS PROGRAM [ARGUMENT...]: starts PROGRAM on RANKS ranks of this machine, more ranks than cores included.
set -eu
ranks=$1
shift
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# Open MPI does not free all that it takes, and unloads the modules that would name it.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0}"
# An unpacked bundle brings its own.
bundled=$(cd "$(dirname "$0")/../../bin" 2>/dev/null && pwd) || true
PATH=${bundled:+$bundled:}$PATH
exec mpirun -n "$ranks" --bind-to none "$@"
