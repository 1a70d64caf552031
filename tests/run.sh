#!/usr/bin/env bash
# run.sh [--long]: everything that must hold before a change lands: packages, build with warnings as errors, format,
# include directions, clang-tidy, every test, the unit tests under sanitizers, and a while of fuzzing. With --long also
# the tests that take minutes each. Leaves build/trireme.
set -euo pipefail
case "${1:-}" in
  "" | --long) ;;
  *) echo "run.sh: unknown argument '$1'; expected nothing or --long" >&2 && exit 2 ;;
esac
cd "$(dirname "$0")/.."
# Several ranks and tests share few cores: who waits for another thread sleeps.
export OMP_WAIT_POLICY=passive CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"

bold='' red='' plain=''
if [ -t 1 ]; then bold=$'\e[1;36m' red=$'\e[1;31m' plain=$'\e[0m'; fi
# What another clone on this machine has compiled need not be compiled again.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
begun=$SECONDS
section() {
  local title=$1 start=$SECONDS
  shift
  printf '%s== %s%s\n' "$bold" "$title" "$plain"
  "$@" || {
    printf '%s== FAILED: %s, after %d s%s\n' "$red" "$title" $((SECONDS - start)) "$plain"
    exit 1
  }
  printf '   %d s\n' $((SECONDS - start))
}

sources() { find app comm io kernels model tests -name '*.h' -o -name '*.cpp' -o -name '*.cu'; }
check_format() { sources | xargs clang-format --dry-run -Werror; }
# A unity build warns of what only looks alike there: the other build has told what is wrong.
build() { cmake --preset "$1" -DTRIREME_TESTS=ON -DTRIREME_WERROR="$2" >/dev/null && cmake --build --preset "$1"; }
# The unity build knows no CUDA.
check_tidy() {
  tests/checks/tidy.sh build-sanitize app comm io kernels model || return
  if grep -q /kernels/cuda/ build/compile_commands.json; then tests/checks/tidy.sh build kernels/cuda comm/nccl; fi
}
# Runs a test preset; keeps CTest's closing lines for the end.
closing_lines=()
run_tests() {
  local log status=0
  log=$(mktemp)
  ctest --preset "$1" | tee "$log" || status=$?
  closing_lines+=("$(grep -E '^[0-9]+% tests passed' "$log")")
  rm "$log"
  return $status
}

section "Packages" jobs/install.sh --tests
section "Format" check_format
section "Build, warnings are errors" build release ON
section "Tests" run_tests release
section "Build with address and undefined-behaviour sanitizers" build sanitize OFF
section "Unit tests under sanitizers" run_tests sanitize
# Of the tests as well it would take the time of all the rest: tests/checks/tidy.sh build
section "clang-tidy of the program" check_tidy
section "Fuzzing" tests/fuzz/run.sh 15
if [ "${1:-}" = --long ]; then section "Long tests" run_tests long; fi

printf '\n%sAll passed in %d min %d s%s\n' "$bold" $(((SECONDS - begun) / 60)) $(((SECONDS - begun) % 60)) "$plain"
printf 'sanitizers: %s\n%s\n' "${closing_lines[1]}" "${closing_lines[0]}"
