#!/usr/bin/env bash
# resnet50.sh: training speed of ResNet-50, ours beside PyTorch's (channels-last), measured in turns on this machine.
#
#   DEVICE=cpu|cuda                    cpu: fp32, eager and compiled; cuda: bf16 with autocast, eager and compiled
#   BATCH=16|256                       images of a step, on the CPU and on a GPU
#   THREADS=2                          of both, on the CPU
#   STEPS=3|30 WARMUP=1|10             that each run measures, and those before them
#   DEPTH=50 IMAGE_SIZE=224 PRECISION  the model; fp32 on the CPU, bf16 on a GPU
#   PEERS="0 1"                        PyTorch as it is (0), and compiled (1)
#   REPETITIONS=3                      pairs
#   BUILD=build                        where `ninja bench` left our program
#   OUT=BUILD/bench/resnet50.jsonl     gets every run
#   TRIREME_BENCH_PYTHON=python3       a Python with torch; without one only ours is measured
#
# Prints images a second of every run, and the medians with their ratio.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$here/../../build}
out=${OUT:-$build/bench/resnet50.jsonl}
python=${TRIREME_BENCH_PYTHON:-python3}
device=${DEVICE:-cpu}
case $device in
  cpu) batch=16 steps=3 warmup=1 precision=fp32 ;;
  cuda) batch=256 steps=30 warmup=10 precision=bf16 ;;
  *) echo "resnet50.sh: DEVICE=$device: expected cpu or cuda" >&2 && exit 2 ;;
esac
common=(--device "$device" --precision "${PRECISION:-$precision}" --threads "${THREADS:-2}" --batch "${BATCH:-$batch}"
  --steps "${STEPS:-$steps}" --warmup "${WARMUP:-$warmup}" --depth "${DEPTH:-50}" --image-size "${IMAGE_SIZE:-224}")

[[ -x $build/bench_resnet50 ]] || {
  echo "resnet50.sh: no $build/bench_resnet50; build it with: ninja -C $build bench" >&2
  exit 2
}
read -ra peers <<<"${PEERS:-0 1}"
"$python" -c 'import torch' 2>/dev/null || {
  echo "resnet50.sh: $python has no torch: only ours is measured (TRIREME_BENCH_PYTHON chooses another Python)" >&2
  peers=()
}
mkdir -p "$(dirname "$out")"
: >"$out"

failures=0
# record KIND COMMAND...: keeps its line of JSON and prints its speed
record() {
  local kind=$1 line
  shift
  if line=$("$@"); then
    printf '{"kind": "%s", "result": %s}\n' "$kind" "$line" >>"$out"
    sed -E 's/.*"images_per_second": *([0-9.]+).*/'"$kind"': \1 images\/s/' <<<"$line"
  else
    echo "$kind: failed" >&2
    failures=$((failures + 1))
  fi
}
for ((repetition = 1; repetition <= ${REPETITIONS:-3}; ++repetition)); do
  record trireme "$build/bench_resnet50" "${common[@]}"
  for compile in "${peers[@]}"; do
    name=pytorch
    if [[ $compile == 1 ]]; then name=pytorch-compiled; fi
    record $name "$python" "$here/resnet50_pytorch.py" "${common[@]}" --compile "$compile"
  done
done
awk -F'"' '
  { kind = $4; match($0, /"images_per_second": *[0-9.]+/); value = substr($0, RSTART, RLENGTH); sub(/.*: */, "", value)
    speeds[kind, ++runs[kind]] = value + 0 }
  function median(kind,   n, i, j, t, s) {
    n = runs[kind]
    for (i = 1; i <= n; ++i) s[i] = speeds[kind, i]
    for (i = 1; i <= n; ++i) for (j = i + 1; j <= n; ++j) if (s[j] < s[i]) { t = s[i]; s[i] = s[j]; s[j] = t }
    return n % 2 ? s[(n + 1) / 2] : (s[n / 2] + s[n / 2 + 1]) / 2
  }
  END { ours = median("trireme")
    for (kind in runs) printf "median %-17s %9.2f images/s  trireme is %.2fx as fast\n", kind, median(kind), ours / median(kind) }
' "$out"
exit $((failures > 0))
