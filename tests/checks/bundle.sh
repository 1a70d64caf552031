#!/usr/bin/env bash
# bundle.sh BUILD: makes a bundle of BUILD, unpacks it elsewhere and trains from it on 2 ranks. As root this happens in
# a root folder that holds the C library, a shell and the tools of every Linux, and nothing of MPI, HDF5 or Boost.
set -euo pipefail
build=$(cd "${1:?usage: bundle.sh BUILD}" && pwd)
pack=$(dirname "$0")/../../jobs/bundle.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "bundle.sh: $1" >&2 && exit 1; }

# Wrong arguments: one line that names what is wrong, status 2, no file.
refused() {
  local wanted=$1 status=0
  shift
  "$pack" "$@" >"$work/refused" 2>&1 || status=$?
  [ "$status" -eq 2 ] || fail "status $status instead of 2 for: $*"
  if [ "$(wc -l <"$work/refused")" -ne 1 ] || ! grep -q -- "$wanted" "$work/refused"; then
    fail "not one line with '$wanted': $(cat "$work/refused")"
  fi
}
refused "unknown argument '--ouput=x.tar.gz'" --ouput=x.tar.gz
refused 'another ending' --build="$build" --output="$work/x.zip"
refused 'found no trireme there' --build="$work"
refused 'does not exist' --build="$build" --output="$work/no/x.tar.gz"

"$pack" --build="$build" --output="$work/bundle.tar.xz"
root=$work/root bundle="an unpacked/trireme"
mkdir -p "$root/an unpacked"
tar -xf "$work/bundle.tar.xz" -C "$root/an unpacked"

# Every library is the bundle's own, or the C library's.
c_library='linux-vdso|ld-linux|lib(c|m|mvec|pthread|dl|rt|resolv|util|anl|nsl)\.so'
LD_LIBRARY_PATH="$root/$bundle/lib" xargs -d '\n' ldd < <(find "$root/$bundle" -name '*.so*' -o -path '*/programs/*') |
  awk '/=>/' | grep -Ev "$c_library" | grep -vF "=> $root/$bundle/lib/" | sort -u >"$work/foreign" || true
[ ! -s "$work/foreign" ] || fail "libraries from outside: $(cat "$work/foreign")"

cat >"$root/use.sh" <<'END'
set -e
cd "$1"
build/trireme --version
build/trireme train --help >help.txt
build/trireme pack text --input=README.txt --output=train.h5 --tokenizer=characters --vocabulary=100
jobs/mpirun.sh 2 train --data.train=train.h5 --train.device=cpu --model.layers=2 --model.hidden=32 --model.heads=2 \
  --model.context=16 --train.steps=3 --train.global_batch=4 --train.micro_batch=1 --train.validate_every=0 \
  --parallel.pipeline=2 --checkpoint.directory=checkpoints --log.metrics=metrics.jsonl --log.progress=none
build/trireme inspect checkpoints
build/trireme sample --checkpoint.directory=checkpoints --sample.tokens=5 --train.device=cpu
tests/support/mpirun.sh 2 build/test_comm_mpi --gtest_brief=1 --gtest_filter='*AllReduce*:*all_reduce*'
build/test_kernels --gtest_brief=1 --gtest_filter='Softmax*cpu*'
build/test_app --gtest_brief=1 --gtest_filter='Executable.HelpsAndTellsItsVersion:Executable.ToolsRunUnderMpirun'
status=0
CUDA_VISIBLE_DEVICES='' tests/gpu.sh report >gpu.txt 2>&1 || status=$?
if [ $status -ne 1 ] || ! grep -q 'no CUDA device: nothing here can run' report/report.txt || grep -qE '^.{24} failed' report/report.txt; then
  echo "tests/gpu.sh without a GPU: status $status" && cat gpu.txt && exit 1
fi
END

# A bare root: system folders of its own with the C library, bash, coreutils and what scripts use.
enter=()
if unshare --mount --pid --fork true 2>/dev/null; then
  mkdir -p "$root"/{bin,usr/bin,lib64,tmp,proc,sys,dev,etc}
  for tool in bash sh env cat dirname basename readlink id nproc setsid sleep mkdir rm cp wc timeout sed awk grep \
    tr paste find stat tail head sort tee xargs uname mktemp date ls; do
    file=$(command -v "$tool")
    cp -L "$file" "$root/bin/$tool"
    ldd "$file" | grep -o '/[^ ]*' >>"$work/needed"
  done
  # Name services are loaded by the C library itself.
  for file in $(sort -u "$work/needed") /lib64/ld-linux-x86-64.so.2 \
    $(/sbin/ldconfig -p | awk '/x86-64/ && /lib(pthread|dl|rt|m|mvec|resolv|util|nss_files|nss_dns)\.so/ { print $NF }'); do
    mkdir -p "$root$(dirname "$file")" && cp -L "$file" "$root$file"
  done
  ln -s /bin/env "$root/usr/bin/env"
  printf 'root:x:0:0:root:/:/bin/sh\n' >"$root/etc/passwd"
  printf '127.0.0.1 localhost %s\n' "$(hostname)" >"$root/etc/hosts"
  cat >"$work/enter.sh" <<'END'
mount -t proc proc "$1/proc"
for folder in sys dev; do mount --rbind "/$folder" "$1/$folder"; done
exec chroot "$1" /bin/env -i PATH=/bin HOME=/ bash -euo pipefail /use.sh "/$2"
END
  enter=(unshare --mount --pid --fork bash -e "$work/enter.sh" "$root" "$bundle")
else
  echo "bundle.sh: no right to make a bare root here; the bundle runs among this system's libraries"
  enter=(env -i PATH="$PATH" HOME="$work" bash "$root/use.sh" "$root/$bundle")
fi
"${enter[@]}" || fail "the unpacked bundle does not run"
[ "$(wc -l <"$root/$bundle/metrics.jsonl")" -eq 3 ] || fail "training from the bundle left no 3 lines of metrics"
echo "The bundle runs."
