#!/usr/bin/env bash
# bundle.sh [--build=build] [--output=trireme-bundle.tar.xz] [--with-cuda]: packs what BUILD holds (trireme, the test
# and benchmark programs) with every library it needs but the C library and the GPU driver, with Open MPI, the scripts
# that run it and a README, into one archive. It unpacks anywhere on an x86-64 Linux and runs there without MPI, HDF5 or
# Boost. The name's end chooses the packing: .tar.xz is half the size of .tar.gz.
# --with-cuda also packs cuBLAS, cuDNN and NCCL, which a node with a CUDA toolkit or PyTorch has: over 1 GB.
set -euo pipefail
shopt -s nullglob
usage="expected [--build=FOLDER] [--output=FILE.tar.gz|FILE.tar.xz] [--with-cuda]"
largest=$((60 << 20)) # bytes, without CUDA's libraries

refuse() { echo "bundle.sh: $1" >&2 && exit 2; }
source_root=$(cd "$(dirname "$0")/.." && pwd)
build=$source_root/build output=trireme-bundle.tar.xz with_cuda=''
for argument in "$@"; do
  case $argument in
    --build=?*) build=${argument#*=} ;;
    --output=?*) output=${argument#*=} ;;
    --with-cuda) with_cuda=1 ;;
    *) refuse "unknown argument '$argument'; $usage" ;;
  esac
done
case $output in
  *.tar.gz) compress=(gzip) ;;
  *.tar.xz) compress=(xz "--lzma2=preset=1,dict=64MiB") ;; # spans programs that hold the same kernels
  *) refuse "--output=$output: found another ending, $usage" ;;
esac
[ -x "$build/trireme" ] || refuse "--build=$build: found no trireme there, expected a build; make it with: cmake --preset release && cmake --build --preset release"
[ -d "$(dirname "$output")" ] || refuse "--output=$output: its folder does not exist"
for tool in ompi_info strip objdump; do
  command -v "$tool" >/dev/null || refuse "found no $tool, which comes with Open MPI or binutils; see jobs/install.sh"
done

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
bundle=$staging/trireme
mkdir -p "$bundle"/{bin,build,lib,programs,openmpi/{plugins,etc},pmix,jobs,tests/support,tests/bench}

# Programs, and the launchers under whose names users start them.
programs=()
for file in "$build"/{trireme,test_*,bench_*}; do
  if [ -f "$file" ] && [ -x "$file" ] && [[ $file != *_emulated ]]; then programs+=("$file"); fi
done
cp -L "${programs[@]}" "$bundle/programs"
strip "$bundle"/programs/*
for name in mpirun orted; do cp -L "$(command -v $name)" "$bundle/programs/$name"; done

cat >"$bundle/launch" <<'END'
#!/bin/sh
# Starts the program of the same name in ../programs with the libraries and the Open MPI of this bundle. Uses nothing
# but the shell itself: ranks start here with the bundle's libraries, which a command of the system might not bear.
self=$0
if [ -L "$self" ]; then self=$(readlink -f "$self"); fi
root=$(cd "${self%/*}/.." && pwd -P)
case ":${LD_LIBRARY_PATH:-}:" in
  ":$root/lib:"*) ;;
  *) export LD_LIBRARY_PATH="$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" ;;
esac
export OPAL_PREFIX="$root" OPAL_BINDIR="$root/bin" OPAL_LIBDIR="$root/lib" OPAL_PKGLIBDIR="$root/openmpi/plugins"
export OPAL_DATADIR="$root/openmpi" OPAL_PKGDATADIR="$root/openmpi/share" OPAL_SYSCONFDIR="$root/openmpi/etc"
export PMIX_PREFIX="$root" PMIX_PKGLIBDIR="$root/pmix/plugins" PMIX_PKGDATADIR="$root/pmix/share"
export PMIX_SYSCONFDIR="$root/openmpi/etc"
export TRIREME_EXECUTABLE="$root/build/trireme" TRIREME_MPIRUN="$root/tests/support/mpirun.sh"
# Without it this Open MPI ends at once, on one node too, where there is neither ssh nor rsh.
command -v ssh >/dev/null || command -v rsh >/dev/null || export OMPI_MCA_plm="${OMPI_MCA_plm:-^rsh}"
exec "$root/programs/${self##*/}" "$@"
END
chmod +x "$bundle/launch"
for file in "${programs[@]}"; do ln "$bundle/launch" "$bundle/build/$(basename "$file")"; done
for name in mpirun orted; do ln "$bundle/launch" "$bundle/bin/$name"; done
rm "$bundle/launch"

# Open MPI loads the rest of itself at run time. What drives fabrics, other launchers' sessions and shared-memory
# languages needs libraries of its own that only nodes with such hardware have.
left_out='ofi|openib|ucx|psm|psm2|usnic|flux|jsm|spml|scoll|sshmem|memheap|atomic|monitoring|gridengine|simulator'
path_of() { ompi_info --path "$1" | sed 's/^[^:]*: *//'; }
for plugin in "$(path_of pkglibdir)"/mca_*.so; do
  [[ $plugin =~ _($left_out)[._] ]] || cp -L "$plugin" "$bundle/openmpi/plugins"
done
mkdir "$bundle/openmpi/share"
cp -L "$(path_of pkgdatadir)"/help-*.txt "$bundle/openmpi/share"
for file in "$(path_of sysconfdir)"/{openmpi-mca-params.conf,openmpi-default-hostfile}; do
  cp -L "$file" "$bundle/openmpi/etc"
done
pmix=$(ldd "$bundle"/openmpi/plugins/*.so | awk '/libpmix/ { file = $3 } END { print file }')
if [ -n "$pmix" ]; then
  pmix=$(dirname "$(readlink -f "$pmix")")
  mkdir "$bundle"/pmix/{plugins,share}
  for file in "$pmix"/pmix/*.so; do cp -L "$file" "$bundle/pmix/plugins"; done
  for file in "$pmix"/../share/pmix/*; do cp -L "$file" "$bundle/pmix/share"; done
fi

# CUDA's libraries are found at run time, and bring further ones that nothing names.
if [ -n "$with_cuda" ]; then
  for pattern in libcublas libcublasLt libcudnn libnccl libnvrtc; do
    found=''
    for folder in "${CUDA_HOME:-/usr/local/cuda}"/lib{64,} /usr/lib/x86_64-linux-gnu; do
      for file in "$folder/$pattern"{,[-_]*}.so.[0-9]*; do
        if [ ! -e "$bundle/lib/$(basename "$file")" ]; then cp -L "$file" "$bundle/lib"; fi
        found=1
      done
      [ -z "$found" ] || break
    done
    [ -n "$found" ] || refuse "--with-cuda: found no $pattern in ${CUDA_HOME:-/usr/local/cuda} or the system; set CUDA_HOME"
  done
fi

# Every library that these name, and those name in turn, but the C library, which must be the system's own.
c_library='^(ld-linux.*|lib(c|m|mvec|pthread|dl|rt|resolv|util|anl|nsl|cuda|nvidia-.*))\.so'
find "$bundle"/{programs,openmpi,pmix,lib} -type f \( -perm -u+x -o -name '*.so*' \) >"$staging/binaries"
xargs -d '\n' -a "$staging/binaries" ldd >"$staging/needed"
if grep 'not found' "$staging/needed" >"$staging/missing"; then
  echo "bundle.sh: libraries that this machine lacks itself:" >&2
  sort -u "$staging/missing" >&2
  exit 1
fi
awk '/=> \// { print $1, $3 }' "$staging/needed" | sort -u | while read -r name file; do
  if [[ ! $name =~ $c_library && ! -e $bundle/lib/$name ]]; then cp -L "$file" "$bundle/lib/$name"; fi
done
# The oldest C library that has all that is asked for.
glibc=$(find "$bundle" -type f \( -name '*.so*' -o -path '*/programs/*' \) -exec objdump -T {} + |
  sed -n 's/.*(\?GLIBC_\([0-9.]*\))\?.*/\1/p' | sort -uV | tail -n 1)

# Scripts, and what a reader must know.
cp -r "$source_root"/jobs/{mpirun.sh,supervise.sh,configs,slurm} "$bundle/jobs"
cp "$source_root"/tests/gpu.sh "$bundle/tests"
cp "$source_root"/tests/support/mpirun.sh "$bundle/tests/support"
cp "$source_root"/tests/bench/*.{sh,py} "$bundle/tests/bench"
cp "$source_root/LICENSE" "$bundle"
commit=$(git -C "$source_root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
printf 'commit %s\nversion %s\nglibc %s\npacked %s\n' "$commit" "$("$build/trireme" --version | cut -d ' ' -f 2)" "$glibc" \
  "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$bundle/BUNDLE"
cat >"$bundle/README.txt" <<END
Trireme, packed to run on an x86-64 Linux with glibc $glibc or newer and nothing else installed. Commit $commit.

  build/trireme --help                                        commands and keys
  jobs/mpirun.sh 4 train --config jobs/configs/quickstart.ini ranks on this machine
  tests/gpu.sh OUTPUT_FOLDER                                  tests and benchmarks of this machine's GPU

The folder may lie anywhere and be moved. bin/mpirun is the Open MPI inside; ranks on several nodes need the folder at
the same place on each. Between nodes this Open MPI speaks TCP: its fabric drivers are left out. NCCL, which moves the
data of GPUs, brings its own.

GPUs need the NVIDIA driver and cuBLAS, cuDNN 9 and NCCL, found in a CUDA toolkit (CUDA_HOME), in the system, in the
wheels of an active Python environment, or in LD_LIBRARY_PATH.$([ -z "$with_cuda" ] || echo ' This bundle brings them.')
Not packed: Python (PyTorch for comparison is the node's own), compute-sanitizer, the sources.
END

packed=$output.part
trap 'rm -rf "$staging" "$packed"' EXIT
tar --create --owner=0 --group=0 --sort=name --directory="$staging" trireme | "${compress[@]}" >"$packed"
bytes=$(stat -c %s "$packed")
if [ "$bytes" -gt $largest ] && [ -z "$with_cuda" ]; then
  echo "bundle.sh: packed, the bundle has $((bytes >> 20)) MiB, over $((largest >> 20)) MiB. Its largest files:" >&2
  find "$bundle" -type f -size +4M -printf '%s %P\n' | sort -rn | head -n 12 >&2
  [[ $output == *.xz ]] || echo "bundle.sh: --output=${output%.gz}.xz packs tighter" >&2
  exit 1
fi
mv "$packed" "$output"
printf '%s: %d programs, %d libraries, %.1f MiB, for glibc %s or newer\n' "$output" ${#programs[@]} \
  "$(find "$bundle/lib" -type f | wc -l)" "$(awk -v b="$bytes" 'BEGIN { print b / 1048576 }')" "$glibc"
