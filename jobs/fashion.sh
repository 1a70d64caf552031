#!/usr/bin/env bash
# fashion.sh [FOLDER [KEY...]]: packs Fashion-MNIST from the Debian package dataset-fashion-mnist, trains the small
# ResNet of configs/resnet-fashion.ini on it, and tells its accuracy on the 10,000 test images. Everything lands in
# FOLDER (runs/fashion); KEYs like --train.steps=500 go to the training. Run again, it goes on from its last checkpoint.
#
#   RANKS=1                                         MPI ranks (data parallel)
#   TRIREME=build/trireme                           the program
#   DATA=/usr/share/datasets/fashion-mnist          where the IDX files are
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-runs/fashion}
shift || true
trireme=${TRIREME:-$here/../build/trireme}
data=${DATA:-/usr/share/datasets/fashion-mnist}

[[ -x $trireme ]] || { echo "fashion.sh: no program at $trireme; build it, or set TRIREME" >&2 && exit 2; }
[[ -e $data/train-images-idx3-ubyte.gz ]] || {
  echo "fashion.sh: no Fashion-MNIST in $data: apt-get install dataset-fashion-mnist, or set DATA" >&2
  exit 2
}
mkdir -p "$folder"
if [[ ! -e $folder/validation.h5 ]]; then
  "$trireme" pack images --input="$data/train-images-idx3-ubyte.gz" --output="$folder/train.h5" \
    --validation-input="$data/t10k-images-idx3-ubyte.gz" --validation-output="$folder/validation.h5"
fi
TRIREME=$trireme "$here/mpirun.sh" "${RANKS:-1}" train --config="$here/configs/resnet-fashion.ini" \
  --data.train="$folder/train.h5" --data.validation="$folder/validation.h5" \
  --checkpoint.directory="$folder/checkpoints" --log.metrics="$folder/metrics.jsonl" \
  --log.events="$folder/events.jsonl" "$@"
"$trireme" eval --data.validation="$folder/validation.h5" --data.crop=padded --train.global_batch=100 \
  --train.micro_batch=100 --checkpoint.directory="$folder/checkpoints"
