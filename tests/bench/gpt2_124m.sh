#!/usr/bin/env bash
# gpt2_124m.sh: training speed and memory of GPT-2 124M, ours beside PyTorch's, measured in turns on this machine.
#
#   REPETITIONS=3 STEPS=5 THREADS=2   how often each program runs, steps it measures, threads of each
#   PEERS="eager compile"             PyTorch as it is, and with torch.compile
#   BUILD=build                       where `ninja bench` left our programs
#   OUT=BUILD/bench/gpt2_124m         .jsonl gets every run, .json the table
#   TRIREME_BENCH_PYTHON=python3      a Python with torch
#
# Run it on a quiet machine: anything else on the cores makes all numbers worthless.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$here/../../build}
out=${OUT:-$build/bench/gpt2_124m}
python=${TRIREME_BENCH_PYTHON:-python3}
threads=${THREADS:-2}
common=(--threads "$threads" --steps "${STEPS:-5}")

for program in bench_gpt2 bench_matmul_ceiling; do
  [[ -x $build/$program ]] || { echo "gpt2_124m.sh: no $build/$program; build it with: ninja -C $build bench" >&2; exit 2; }
done
"$python" -c 'import torch' 2>/dev/null || {
  echo "gpt2_124m.sh: $python has no torch; set TRIREME_BENCH_PYTHON to a Python that has it" >&2
  exit 2
}

mkdir -p "$(dirname "$out")"
: >"$out.jsonl"

# record KIND REPETITION COMMAND...: runs it and keeps its line of JSON
record() {
  local kind=$1 repetition=$2 line
  shift 2
  echo "repetition $repetition: $kind: ${*##*/}" >&2
  line=$("$@")
  printf '{"kind": "%s", "repetition": %d, "result": %s}\n' "$kind" "$repetition" "$line" >>"$out.jsonl"
}

export OMP_NUM_THREADS=$threads
for ((repetition = 1; repetition <= ${REPETITIONS:-3}; ++repetition)); do
  for precision in fp32 bf16; do
    record ceiling "$repetition" "$build/bench_matmul_ceiling" --precision "$precision" --threads "$threads"
    record ours "$repetition" "$build/bench_gpt2" --precision "$precision" "${common[@]}"
    variants=("$precision")
    if [[ $precision == bf16 ]]; then variants+=(bf16-master); fi
    for variant in "${variants[@]}"; do
      for peer in ${PEERS:-eager compile}; do
        compiled=$([[ $peer == compile ]] && echo 1 || echo 0)
        record peer "$repetition" "$python" "$here/gpt2_pytorch.py" --precision "$variant" --compile "$compiled" \
          "${common[@]}"
      done
    done
  done
done
"$python" "$here/gpt2_table.py" "$out.jsonl" "$out.json"
