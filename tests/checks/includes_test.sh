#!/usr/bin/env bash
# Plants violations one at a time in an empty tree and expects includes.sh to name the file of each.
set -uo pipefail
checker=$(cd "$(dirname "$0")" && pwd)/includes.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

# expect found|clean FILE LINE
expect() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree"/{kernels,comm,model,io,app} "$tree/$(dirname "$2")"
  echo "$3" >"$tree/$2"
  output=$("$checker" "$tree")
  case "$1-$?" in
    clean-0) return ;;
    found-1) [[ $output == *"$2:1:"* ]] && return ;;
  esac
  echo "expected '$3' in $2 to be $1, but the check said: ${output:-nothing}"
  failures=1
}

expect found kernels/a.h '#include "comm/communicator.h"'
expect found kernels/cpu/a.cpp '#include "app/options.h"'
expect found comm/a.cpp '#include "kernels/cuda/state.h"'
expect found comm/a.cpp '#include <cuda_runtime.h>'
expect found comm/mpi/a.cpp '#include "model/layer.h"'
expect found io/checkpoint/a.cpp '#include "model/parameter.h"'
expect found io/a.cpp '  #  include "app/configuration.h"'
expect found io/a.cpp '#include "kernels/backend.h"'
expect found model/arch/a.h '#include "io/dataset.h"'
expect found model/a.cpp '#include "configuration.h"'
expect found app/a.cpp '#include "tests/support/reference.h"'
expect found app/a.cpp '#include <mpi.h>'
expect found kernels/a.cpp '#include <oneapi/dnnl/dnnl.hpp>'
expect found kernels/cpu/a.cpp '#include <cublas_v2.h>'
expect found comm/mpi/a.cpp '#include <nccl.h>'
expect found app/a.cpp '#include <hdf5.h>'
expect found app/a.cpp '#include <prometheus/registry.h>'
expect found io/a.cpp '#include <civetweb.h>'
expect found model/a.cpp '#include "H5Fpublic.h"'
expect found app/a.cpp '#include <sentencepiece_processor.h>'

expect clean kernels/cpu/a.cpp '#include <dnnl.hpp>'
expect clean kernels/cuda/a.cu '#include <cuda_runtime.h>'
expect clean comm/mpi/a.cpp '#include <mpi.h>'
expect clean comm/nccl/a.cpp '#include <nccl.h>'
expect clean comm/a.cpp '#include "kernels/tensor.h"'
expect clean comm/a.cpp '#include "kernels/backend.h"'
expect clean comm/nccl/a.cpp '#include "kernels/cuda/runtime.h"'
expect clean model/a.cpp '#include "comm/communicator.h"'
expect clean io/a.h '#include <hdf5.h>'
expect clean io/a.h '// #include "model/layer.h" is refused here'
expect clean app/a.cpp '#include "model/layer.h"'
exit $failures
