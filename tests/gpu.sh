#!/usr/bin/env bash
# gpu.sh OUTPUT_FOLDER: all that can be checked and measured on a machine with an NVIDIA GPU, in under 9 minutes: the
# tests of the CUDA backend and of NCCL, layouts and restarts on the GPU, NCCL's bandwidth, ResNet-50 and GPT-2
# beside PyTorch, compute-sanitizer. Runs from a build and from an unpacked bundle (jobs/bundle.sh). Leaves in OUTPUT_FOLDER
#   report.json  machine, and every part with status, seconds and figures
#   report.txt   the same as a short table, which is also printed
#   *.log, *.jsonl  what the programs said; each run of the benchmarks
# Status 0: nothing failed; 1: something failed, or there is no GPU; 2: wrong arguments. A part that lacks a tool, or
# time, counts as not run.
#
#   BUILD=build                   where the programs are
#   TRIREME_BENCH_PYTHON=python3  a Python with torch
#   SECONDS_LEFT=520              for everything
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build}
python=${TRIREME_BENCH_PYTHON:-python3}
mpirun=$root/tests/support/mpirun.sh
refuse() { echo "gpu.sh: $1" >&2 && exit 2; }
if [ $# -ne 1 ] || [[ $1 == -* ]]; then refuse "found $# arguments${1:+ ($*)}, expected one: OUTPUT_FOLDER"; fi
if [ ! -x "$build/trireme" ] || [ ! -x "$build/test_kernels" ]; then
  refuse "BUILD=$build: found no trireme and test_kernels there; make them with: cmake --preset release && cmake --build --preset release --target all bench"
fi
mkdir -p "$1" 2>/dev/null || refuse "OUTPUT_FOLDER=$1 cannot be made"
out=$(cd "$1" && pwd)
rm -f "$out"/{report.json,report.txt,tests.log,sanitizer.log,gpt2.log,gpt2.jsonl,resnet50.jsonl}
begun=$SECONDS end=$((SECONDS + ${SECONDS_LEFT:-520}))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}

# Wheels hold CUDA's libraries where there is PyTorch but no toolkit.
wheels=$("$python" -c 'import glob, sys; print(":".join(d for p in sys.path for d in sorted(glob.glob(p + "/nvidia/*/lib"))))' 2>/dev/null || true)
if [ -n "$wheels" ]; then export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$wheels"; fi

quoted() { printf '"%s"' "$(tr -d '\000-\037' <<<"$*" | sed 's/\\/\\\\/g; s/"/\\"/g')"; }

parts=() failed=0
# done_part NAME STATUS SECONDS NOTE [FIGURES]: FIGURES is JSON
done_part() {
  local line
  printf -v line '%-24s %-9s %5d s  %s' "$1" "$2" "$3" "$4"
  echo "$line" | tee -a "$work/table" >&2
  parts+=("$(printf '{"part": %s, "status": %s, "seconds": %d, "note": %s, "figures": %s}' \
    "$(quoted "$1")" "$(quoted "$2")" "$3" "$(quoted "$4")" "${5:-null}")")
  if [ "$2" = failed ]; then failed=1; fi
}
# time_for SECONDS: that, or what is left where it is less
time_for() {
  local left=$((end - SECONDS))
  echo $(($1 < left ? $1 : left))
}

# count WORD LOG: the number of tests in GoogleTest's closing line with that word
count() { sed -n "s/^\[ *$1 *\] \([0-9]*\) tests\?.*/\1/p" "$2" | tail -n 1 | grep . || echo 0; }
# tests PART SECONDS LOG COMMAND...: a test program under a limit; a started test that did not end is named
tests() {
  local part=$1 limit log=$3 start=$SECONDS status=0 note figures result=passed
  limit=$(time_for "$2")
  shift 3
  if [ "$limit" -lt 5 ]; then done_part "$part" 'not run' 0 'no time left' && return; fi
  timeout --kill-after=5 "$limit" "$@" >"$work/log" 2>&1 || status=$?
  { printf '\n== %s: %s\n' "$part" "$*"; cat "$work/log"; } >>"$out/$log"
  local ok skipped bad
  ok=$(count PASSED "$work/log") skipped=$(count SKIPPED "$work/log") bad=$(count FAILED "$work/log")
  note="$ok passed, $skipped skipped, $bad failed"
  figures="{\"passed\": $ok, \"skipped\": $skipped, \"failed\": $bad}"
  if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    ok=$(grep -c '^\[       OK' "$work/log" || true) bad=$(grep -c '^\[  FAILED' "$work/log" || true)
    result=failed note="stopped after $limit s in $(sed -n 's/^\[ RUN *\] //p' "$work/log" | tail -n 1); $ok passed, $bad failed until then"
    figures="{\"passed\": $ok, \"failed\": $bad}"
    # A sanitizer takes the time it takes; what it saw counts.
    if [ "$part" = memcheck ] && [ "$bad" -eq 0 ] && ! grep -qE '^=+ (Invalid|Program hit|ERROR SUMMARY: [1-9])' "$work/log"; then
      result=partly note="no error in $ok cases, then the time was up"
    fi
  elif [ "$status" -ne 0 ]; then
    result=failed
    if [ "$status" -gt 128 ]; then note+=", ended in $(sed -n 's/^\[ RUN *\] //p' "$work/log" | tail -n 1)"; fi
    note+=", status $status: $(grep -E '^\[  FAILED|rror|terminate' "$work/log" | head -n 1)"
  elif [ "$ok" -eq 0 ]; then
    result=skipped
    if [ "$skipped" -eq 0 ]; then result='not run' note='this program has no test of that kind'; fi
  fi
  done_part "$part" "$result" $((SECONDS - start)) "$note" "$figures"
}

# What the machine is.
version_of() { # LIBRARY-PREFIX: the file that the loader or a usual folder has
  { ldconfig -p 2>/dev/null | awk '{ print $NF }'; tr ':' '\n' <<<"${LD_LIBRARY_PATH:-}" | sed 's|$|/|' |
    while read -r folder; do ls "$folder"* 2>/dev/null; done; ls /usr/local/cuda/lib{64,}/* 2>/dev/null; } |
    grep -E "/$1\.so\.[0-9]+$" | head -n 1 | xargs -r readlink -f
}
commit=$(sed -n 's/^commit //p' "$root/BUNDLE" 2>/dev/null || true)
if [ -n "$commit" ]; then commit+=" (bundle)"; else commit=$(git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown); fi
gpus=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "nvidia-smi: not there or no device")
torch=$("$python" -c 'import torch; print(torch.__version__, "cuDNN", torch.backends.cudnn.version(), "NCCL", ".".join(map(str, torch.cuda.nccl.version())) if torch.cuda.is_available() else "-")' 2>/dev/null || echo none)
nvcc=$(nvcc --version 2>/dev/null | sed -n 's/.*release \([^,]*\),.*/\1/p' || true)
machine=$(printf '{"gpus": %s, "commit": %s, "kernel": %s, "cores": %d, "toolkit": %s, "cublaslt": %s, "cudnn": %s, "nccl": %s, "torch": %s}' \
  "$(quoted "$(paste -sd ';' <<<"$gpus")")" "$(quoted "$commit")" "$(quoted "$(uname -r)")" "$(env -u OMP_NUM_THREADS nproc)" "$(quoted "${nvcc:-none}")" \
  "$(quoted "$(version_of libcublasLt)")" "$(quoted "$(version_of libcudnn)")" "$(quoted "$(version_of libnccl)")" "$(quoted "$torch")")

# Programs that do not start would look like a missing GPU.
start=$SECONDS broken=''
for program in "$build"/{trireme,test_*,bench_*}; do
  if [ ! -f "$program" ] || [ ! -x "$program" ] || [[ $program == *_emulated ]]; then continue; fi
  argument=--help
  if [[ $program == */bench_* ]]; then argument=--no-such-argument; fi # says so and ends
  status=0
  timeout 60 "$program" "$argument" >"$work/log" 2>&1 || status=$?
  if [ "$status" -gt 2 ]; then
    broken+=" ${program##*/}"
    { printf '\n== %s %s: status %d\n' "${program##*/}" "$argument" "$status"; cat "$work/log"; } >>"$out/tests.log"
  fi
done
done_part 'programs start' "$([ -z "$broken" ] && echo passed || echo failed)" $((SECONDS - start)) "${broken:+status above 2:$broken}"

# Our own eyes decide whether there is a GPU.
cuda='*cuda*:*Cuda*:*CUDA*:*nccl*:*Nccl*:*gpu*'
status=0
timeout 120 "$build/test_kernels" --gtest_filter='Softmax*cuda*' >"$work/probe" 2>&1 || status=$?
{ printf '\n== is there a GPU?\n'; cat "$work/probe"; } >>"$out/tests.log"
gpu=1
if [ "$status" -eq 0 ] && grep -q 'no CUDA device' "$work/probe"; then gpu=''; fi

if [ -z "$gpu" ]; then
  failed=1
  {
    echo 'no CUDA device: nothing here can run. Looked for:'
    echo "  devices            $(find /dev -maxdepth 1 -name 'nvidia[0-9]*' 2>/dev/null | paste -sd ' ' | grep . || echo 'no /dev/nvidia0')"
    echo "  driver             $(ldconfig -p 2>/dev/null | awk '/libcuda\.so\.1/ { print $NF; exit }' | grep . || echo 'no libcuda.so.1')"
    echo "  nvidia-smi         $gpus"
    echo "  CUDA backend       $(LC_ALL=C grep -qas 'built without CUDA' "$build/trireme" "$root/programs/trireme" && echo 'this build has none: configure with -DWITH_CUDA=on' || echo 'in this build')"
    echo "  hidden from us     CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES-not set}"
  } | tee "$work/no_gpu"
fi

# Without a GPU these skip their cases by name.
tests kernels 100 tests.log "$build/test_kernels" --gtest_filter="$cuda"
for folder in comm app; do tests $folder 150 tests.log "$build/test_$folder" --gtest_filter="$cuda"; done
for ranks in 1 2 4; do
  tests "comm on $ranks ranks" 40 tests.log "$mpirun" $ranks "$build/test_comm_mpi" --gtest_filter="$cuda"
done

# benchmark PART RANKS PROGRAM ARGUMENT...: one that prints lines of JSON
benchmark() {
  local part=$1 ranks=$2 start=$SECONDS status=0 limit
  shift 2
  limit=$(time_for 40)
  if [ ! -x "$1" ]; then done_part "$part" 'not run' 0 "no ${1##*/} here" && return; fi
  if [ "$limit" -lt 5 ]; then done_part "$part" 'not run' 0 'no time left' && return; fi
  timeout --kill-after=5 "$limit" "$mpirun" "$ranks" "$@" >"$work/lines" 2>"$work/log" || status=$?
  { printf '\n== %s: %s\n' "$part" "$*"; cat "$work/lines" "$work/log"; } >>"$out/tests.log"
  if [ "$status" -ne 0 ]; then
    done_part "$part" failed $((SECONDS - start)) "status $status: $(tail -n 1 "$work/log")"
  else
    done_part "$part" passed $((SECONDS - start)) "on $ranks ranks" "[$(grep '^{' "$work/lines" | paste -sd ,)]"
  fi
}

if [ -z "$gpu" ]; then
  for part in nccl 'matrix products' resnet50 gpt2 memcheck; do done_part "$part" 'not run' 0 'no CUDA device'; done
else
  devices=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
  benchmark nccl "$((devices > 0 ? devices : 1))" "$build/bench_nccl"
  benchmark 'matrix products' 1 "$build/bench_matmul_ceiling" --device cuda --precision bf16

  start=$SECONDS status=0 limit=$(time_for 90)
  if [ ! -x "$build/bench_resnet50" ]; then
    done_part resnet50 'not run' 0 "no bench_resnet50 here"
  elif [ "$limit" -lt 30 ]; then
    done_part resnet50 'not run' 0 'no time left'
  else
    BUILD=$build OUT=$out/resnet50.jsonl DEVICE=cuda REPETITIONS=1 PEERS=0 TRIREME_BENCH_PYTHON=$python \
      timeout --kill-after=5 "$limit" "$root/tests/bench/resnet50.sh" >"$work/resnet50.txt" 2>>"$out/tests.log" || status=$?
    done_part resnet50 "$([ "$status" -eq 0 ] && echo passed || echo failed)" $((SECONDS - start)) \
      "$(grep '^median' "$work/resnet50.txt" | tr -s ' ' | paste -sd ';' || true)" "[$(paste -sd , "$out/resnet50.jsonl")]"
  fi

  # GPT-2 takes what is left but a minute for the sanitizer.
  start=$SECONDS status=0 left=$((end - SECONDS - 60))
  if [ ! -x "$build/bench_gpt2" ]; then
    done_part gpt2 'not run' 0 "no bench_gpt2 here"
  elif [ "$left" -lt 30 ]; then
    done_part gpt2 'not run' 0 'no time left'
  else
    BUILD=$build OUT=$work/gpt2 SECONDS_LEFT=$left TRIREME_BENCH_PYTHON=$python \
      "$root/tests/bench/gpt2_gpu.sh" >"$work/gpt2.txt" 2> >(tee "$work/gpt2.err" >&2) || status=$?
    for file in gpt2.jsonl gpt2.log; do cp "$work/$file" "$out/" 2>/dev/null || true; done
    figures=$(cat "$work/gpt2.json" 2>/dev/null || true)
    done_part gpt2 "$([ "$status" -eq 0 ] && echo passed || echo failed)" $((SECONDS - start)) \
      "$(grep -c . "$work/gpt2.jsonl" || true) runs, $(grep -c 'no time left' "$work/gpt2.err" || true) left out for time" "$figures"
  fi

  if command -v compute-sanitizer >/dev/null; then
    tests memcheck 150 sanitizer.log compute-sanitizer --tool memcheck --report-api-errors no --target-processes all \
      --error-exitcode 9       "$build/test_kernels" --gtest_filter="$cuda"
  else
    done_part memcheck 'not run' 0 'no compute-sanitizer here'
  fi
fi

for log in "$out"/*.log; do
  if [ -f "$log" ] && [ "$(stat -c %s "$log")" -gt $((1 << 20)) ]; then tail -c $((1 << 20)) "$log" >"$work/tail" && cp "$work/tail" "$log"; fi
done
printf '{"status": %s, "seconds": %d, "machine": %s, "parts": [\n%s\n]}\n' \
  "$([ $failed -eq 0 ] && echo '"passed"' || echo '"failed"')" $((SECONDS - begun)) "$machine" \
  "$(printf '%s,\n' "${parts[@]}" | sed '$ s/,$//')" >"$out/report.json"
{
  printf '%s\ncommit %s, torch %s\n\n' "$gpus" "$commit" "$torch"
  if [ -f "$work/no_gpu" ]; then cat "$work/no_gpu" && echo; fi
  cat "$work/table"
  if [ -f "$work/gpt2.txt" ]; then echo && cat "$work/gpt2.txt"; fi
} >"$out/report.txt"
echo
cat "$out/report.txt"
exit $failed
