#!/usr/bin/env bash
# ranks.sh: training speed of 1 rank x 2 threads against 2 ranks x 1 thread in each kind of parallelism, measured in
# turns, and the pipeline's bubble beside the simulator's. Each run is `trireme train`; its speed is the median of
# tokens_per_second in its metrics file after a warm-up.
#
#   REPETITIONS=3 STEPS=16 WARMUP=4   how often each layout runs, its steps, and how many of them do not count
#   PRECISION=fp32                    or bf16
#   MODEL="..."                       options of the model instead of the ones below
#   BUILD=build                       where `ninja trireme bench` left the programs
#   OUT=BUILD/bench/ranks             folder of the data set, the metrics files and table.txt
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=${BUILD:-$root/build}
out=${OUT:-$build/bench/ranks}
warmup=${WARMUP:-4}
[[ -x $build/trireme && -x $build/bench_bubble ]] || {
  echo "ranks.sh: no $build/trireme or no $build/bench_bubble; build them with: ninja -C $build bench" >&2
  exit 2
}
mkdir -p "$out"
rm -f "$out"/*.jsonl

# The repository's own source is text enough: speed does not depend on what it says.
if [[ ! -f $out/train.h5 ]]; then
  find "$root"/{kernels,comm,model,io,app} -name '*.cpp' -o -name '*.h' | sort | xargs cat >"$out/source.txt"
  "$build/trireme" pack text --input="$out/source.txt" --output="$out/train.h5" --tokenizer=bpe --vocabulary=2000
fi

read -ra model <<<"${MODEL:---model.layers=8 --model.hidden=512 --model.heads=8 --model.context=256}"
training=("${model[@]}" --data.train="$out/train.h5" --train.steps="${STEPS:-16}" --train.global_batch=16
  --train.micro_batch=2 --train.precision="${PRECISION:-fp32}" --train.device=cpu --log.progress=none)
layouts=("single 1 2" "data 2 1 --parallel.data=2" "tensor 2 1 --parallel.tensor=2"
  "gpipe 2 1 --parallel.pipeline=2 --parallel.schedule=gpipe"
  "1f1b 2 1 --parallel.pipeline=2 --parallel.schedule=1f1b")

# on RANKS THREADS PROGRAM...: each rank on cores of its own
on() {
  OMP_NUM_THREADS=$2 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
    mpirun -n "$1" --map-by "slot:PE=$2" --bind-to core "${@:3}"
}

for ((repetition = 1; repetition <= ${REPETITIONS:-3}; ++repetition)); do
  for layout in "${layouts[@]}"; do
    read -r name ranks threads options <<<"$layout"
    read -ra options <<<"$options"
    echo "repetition $repetition: $name" >&2
    metrics=$out/$name-$repetition.jsonl
    on "$ranks" "$threads" "$build/trireme" train "${training[@]}" "${options[@]}" --log.metrics="$metrics"
  done
done

# median KEY FILE...: of a number in the metrics of the steps after the warm-up
median() {
  local key=$1 file
  shift
  for file in "$@"; do
    tail -n "+$((warmup + 1))" "$file" | sed "s/.*\"$key\": *\([0-9.e+-]*\).*/\1/"
  done | sort -g | awk '{ value[NR] = $1 } END { print (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2 }'
}

{
  printf '%-8s %12s %10s %10s\n' layout tokens/s 'of single' 'data wait'
  single=$(median tokens_per_second "$out"/single-*.jsonl)
  for layout in "${layouts[@]}"; do
    name=${layout%% *}
    awk -v name="$name" -v speed="$(median tokens_per_second "$out/$name"-*.jsonl)" -v single="$single" \
      -v wait="$(median data_wait_seconds "$out/$name"-*.jsonl)" -v step="$(median step_seconds "$out/$name"-*.jsonl)" \
      'BEGIN { printf "%-8s %12.1f %9.1f%% %9.3f%%\n", name, speed, 100 * speed / single, 100 * wait / step }'
  done
  for schedule in gpipe 1f1b; do
    on 2 1 "$build/bench_bubble" "${training[@]}" --parallel.pipeline=2 --parallel.schedule="$schedule"
  done
} | tee "$out/table.txt"
