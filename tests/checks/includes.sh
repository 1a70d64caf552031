#!/usr/bin/env bash
# includes.sh [ROOT]: refuses an include against the direction between folders, and a vendor header outside its folder.
# Prints one line for each violation; status 1 if there is any.
set -uo pipefail
cd "${1:-$(dirname "$0")/../..}"

# folder: the pattern that an include of ours must match there.
declare -A allowed=(
  [kernels]='kernels/'
  [comm]='(comm/|kernels/(activity|backend|cuda/runtime|error|forward|library|tensor)\.h)'
  [model]='(model|comm|kernels)/'
  [io]='(io/|comm/|kernels/(activity|error|philox|tensor)\.h)'
  [app]='(app|io|model|comm|kernels)/'
)
# vendor header: the only folder that may include it.
declare -A vendors=(
  ['(oneapi/)?dnnl']='kernels/cpu/'
  ['(cuda|cublas|cudnn|nvrtc|nvtx|cub/|thrust/|nvml)']='kernels/cuda/'
  ['nccl']='comm/nccl/'
  ['mpi']='comm/mpi/'
  ['(hdf5|H5[A-Z])']='io/'
  ['sentencepiece']='io/'
  ['xxh']='io/'
  ['(ft2build|freetype/|hb)']='io/lines/'
  ['(turbojpeg|jpeglib|png|zlib)']='io/'
  ['curl/']='io/mirror/'
  ['openssl/']='io/mirror/'
  ['unicode/']='io/'
  ['opencc']='io/'
  ['boost/']='app/'
  ['(prometheus/|civetweb|CivetServer)']='app/monitor/'
)

violations=0
complain() {
  local rule=$1 hits=$2
  [ -z "$hits" ] && return
  violations=1
  while IFS= read -r hit; do printf '%s: %s\n' "$hit" "$rule"; done <<<"$hits"
}
includes() { grep -rnE --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' "$@"; }

for folder in "${!allowed[@]}"; do
  [ -d "$folder" ] || continue
  complain "$folder/ may only include ${allowed[$folder]}" \
    "$(includes '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$folder" |
      grep -vE "include[[:space:]]*\"${allowed[$folder]}")"
done
for vendor in "${!vendors[@]}"; do
  complain "only ${vendors[$vendor]} may include this library" \
    "$(includes "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]${vendor}" kernels comm model io app 2>/dev/null |
      grep -v "^${vendors[$vendor]}")"
done
exit $violations
