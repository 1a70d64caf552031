#!/usr/bin/env bash
# run.sh [SECONDS [TARGET...]]: builds the fuzz targets in build-fuzz and lets each look for inputs that crash, hang or
# take too much memory, for 15 seconds or as long as told, as many at a time as there are cores. An input that was
# found is named; build-fuzz/TARGET_fuzz FILE repeats it.
set -euo pipefail
cd "$(dirname "$0")/../.."
export seconds=${1:-15}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(checkpoint dataset configuration)

clang=$(command -v clang++-19 || command -v clang++ || true)
if [ -z "$clang" ] || ! "$clang" -fsanitize=fuzzer,address,undefined -x c++ -o /dev/null - 2>/dev/null \
  <<<'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'; then
  echo "Skipped: there is no clang++ with libFuzzer (packages clang-19 and libclang-rt-19-dev)"
  exit 0
fi
CXX=$clang cmake -S tests/fuzz -B build-fuzz -G Ninja >/dev/null
cmake --build build-fuzz --target "${targets[@]/%/_fuzz}"

# HDF5 forgets memory when what it opens is damaged, so leaks are not looked for.
fuzz() {
  local target=build-fuzz/$1
  if ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=64 "${target}_fuzz" -max_total_time="$seconds" -max_len=512 \
    -len_control=0 -timeout=60 -malloc_limit_mb=64 -rss_limit_mb=768 -print_final_stats=1 \
    -artifact_prefix="$target-" >"$target.log" 2>&1; then
    echo "$1: $(grep -oE 'DONE +cov: [0-9]+' "$target.log"), $(grep -oE 'Done .*' "$target.log")"
  else
    tail -n 60 "$target.log"
    return 1
  fi
}
export -f fuzz
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I {} bash -c 'fuzz {}'
