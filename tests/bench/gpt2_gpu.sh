#!/usr/bin/env bash
# gpt2_gpu.sh: training speed, memory and FLOP utilisation of GPT-2 on this machine's first GPU, ours beside PyTorch's
# (compiled, fused AdamW), measured in turns at the largest micro-batch that fits both.
#
#   SIZES="124M:128 1558M:32 774M:64"  models, each with the micro-batch to begin at: smaller ones follow until one fits
#   PEERS="bf16 bf16-master"           precisions of PyTorch, see gpt2_pytorch.py
#   CONTEXT=1024 STEPS=15              tokens of a sample, steps that each run measures
#   REPETITIONS=3 SECONDS_LEFT=1800    how often; what would not be done in that time is left out, and said so
#   BUILD=build                        where `ninja bench` left our programs
#   OUT=BUILD/bench/gpt2_gpu           .jsonl gets every run, .json the table, .log what the programs say
#   TRIREME_BENCH_PYTHON=python3       a Python with torch; without one only ours is measured
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$here/../../build}
out=${OUT:-$build/bench/gpt2_gpu}
python=${TRIREME_BENCH_PYTHON:-python3}
device=${DEVICE:-cuda} # cpu tries this script where there is no GPU
compile=${COMPILE:-1}
end=$((SECONDS + ${SECONDS_LEFT:-1800}))
common=(--device "$device" --context "${CONTEXT:-1024}" --steps "${STEPS:-15}")

for program in bench_gpt2 bench_matmul_ceiling; do
  [[ -x $build/$program ]] || { echo "gpt2_gpu.sh: no $build/$program; build it with: ninja -C $build bench" >&2; exit 2; }
done
read -ra peers <<<"${PEERS:-bf16 bf16-master}"
"$python" -c 'import torch' 2>/dev/null || {
  echo "gpt2_gpu.sh: $python has no torch: only ours is measured (TRIREME_BENCH_PYTHON chooses another Python)" >&2
  peers=(none)
}
mkdir -p "$(dirname "$out")"
: >"$out.jsonl"
: >"$out.log"

# record KIND REPETITION COMMAND...: runs it while there is time and keeps its line of JSON, which is left in $line
failures=0
record() {
  local kind=$1 repetition=$2 left=$((end - SECONDS)) status=0
  shift 2
  line=''
  if [[ $kind == peer ]]; then left=$((left - 60)); fi # ours is what this is about
  if ((left < 15)); then
    echo "not run, no time left: ${*##*/}" >&2
    return 1
  fi
  echo "repetition $repetition: $kind: ${*##*/}" | tee -a "$out.log" >&2
  line=$(timeout --kill-after=5 "$left" "$@" 2>>"$out.log") || status=$?
  if ((status == 124)); then
    echo "stopped, no time left: ${*##*/}" >&2
    return 1
  elif ((status != 0)); then
    if [[ $kind != peer ]]; then failures=$((failures + 1)); fi
    echo "failed with status $status: ${*##*/}" >&2
    tail -n 5 "$out.log" >&2
    return 1
  fi
  printf '{"kind": "%s", "repetition": %d, "result": %s}\n' "$kind" "$repetition" "$line" >>"$out.jsonl"
}
batch_in() { sed -n 's/.*"micro_batch": *\([0-9]*\).*/\1/p' <<<"$1"; }

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
record ceiling 1 "$build/bench_matmul_ceiling" --device "$device" --precision bf16 || true
declare -A batch
read -ra sizes <<<"${SIZES:-124M:128 1558M:32 774M:64}"
run=0 # each has one pair of ours and theirs for each size
for ((repetition = 1; repetition <= ${REPETITIONS:-3}; ++repetition)); do
  for peer in "${peers[@]}"; do
    run=$((run + 1))
    for each in "${sizes[@]}"; do
      size=${each%:*}
      ours=("$build/bench_gpt2" --size "$size" --precision bf16 "${common[@]}")
      theirs=("$python" "$here/gpt2_pytorch.py" --size "$size" --precision "$peer" --compile "$compile" "${common[@]}")
      fit=0
      if [[ -z ${batch[$size]:-} ]]; then fit=1 batch[$size]=${each#*:}; fi
      if [[ $device == cpu ]]; then fit=0; fi
      measured=''
      # Theirs first: it finds its largest micro-batch without compiling for the ones that do not fit.
      if [[ $peer != none ]] && record peer $run "${theirs[@]}" --micro-batch "${batch[$size]}" --fit $fit; then
        measured=$(batch_in "$line")
        batch[$size]=$measured
      fi
      record ours $run "${ours[@]}" --micro-batch "${batch[$size]}" --fit $fit || continue
      batch[$size]=$(batch_in "$line")
      if [[ -n $measured && $measured != "${batch[$size]}" ]]; then
        record peer $run "${theirs[@]}" --micro-batch "${batch[$size]}" || true
      fi
    done
  done
done
"$python" "$here/gpt2_table.py" "$out.jsonl" "$out.json" || echo "gpt2_gpu.sh: no table without Python; every run is in $out.jsonl" >&2
exit $((failures > 0))
