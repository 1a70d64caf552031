#!/usr/bin/env bash
# tidy.sh BUILD [FOLDER...]: clang-tidy over every source that BUILD compiled, or those under the folders, as many at a
# time as there are cores. What passed is not run again until it, a header of ours that it includes, or the configuration
# changes: the user's cache remembers, for all clones. In a unity build, sources that are compiled together are checked
# together, in a fraction of the time.
set -euo pipefail
build=$(cd "${1:?usage: tidy.sh BUILD [FOLDER...]}" && pwd)
folders=("${@:2}")
cd "$(dirname "$0")/../.."
root=$PWD
tidy=$(command -v clang-tidy-19 || command -v clang-tidy)
passed=${XDG_CACHE_HOME:-${HOME:-$build}/.cache}/trireme-tidy
mkdir -p "$passed"

# One line a source: the source, then the headers of ours that it includes, as the build found them. The compiler cache
# makes paths relative to the build's folder.
dependencies() {
  ninja -C "$build" -t deps | awk -v root="$root/" -v build="$build/" -v unity="${build#"$root/"}/" '
    function flush() { if (source != "") print source headers; source = headers = "" }
    /^[^ ]/ { flush(); next }
    NF == 1 {
      path = $1
      if (path ~ /\/Unity\/unity_[0-9]+_cxx\.cxx$/) { source = unity substr(path, index(path, build) == 1 ? length(build) + 1 : 1); next }
      if (index(path, "../") == 1) path = substr(path, 4)
      else if (index(path, root) == 1 && index(path, build) != 1) path = substr(path, length(root) + 1)
      else next
      if (path ~ /\.cpp$/ && source == "") source = path; else headers = headers " " path
    }
    END { flush() }' | sort -u
}

check() {
  local source=$1 stamp
  stamp="$passed/$({ "$tidy" --version; cat "$@" .clang-tidy tests/.clang-tidy tests/emulation/.clang-tidy; } | sha256sum | cut -d ' ' -f 1)"
  [ -e "$stamp" ] && return
  # What forwards to a vendor's library names the parameters our way.
  local less=''
  if [[ $source == *_library.cpp ]]; then less=,-readability-inconsistent-declaration-parameter-name; fi
  if [[ $source == */Unity/* ]]; then less=,-bugprone-suspicious-include,-clang-diagnostic-shadow; fi
  # GCC's own folder comes last: it has the omp.h that clang lacks, with an attribute that clang does not know.
  if "$tidy" --quiet -p "$build" --checks="$less" --extra-arg=-idirafter"$(g++ -print-file-name=include)" \
    --extra-arg='-D__malloc__(...)=__malloc__' --extra-arg=-Wno-deprecated-declarations "$source" >"$stamp.log" 2>/dev/null; then
    mv "$stamp.log" "$stamp"
  else
    sed "s|$root/||g" "$stamp.log"
    rm "$stamp.log"
    return 1
  fi
}
export -f check
export build tidy root passed

pattern=$(IFS='|' && echo "^(${build#"$root/"}/)?(${folders[*]})/")
sources=$(dependencies | if [ ${#folders[@]} -gt 0 ]; then grep -E "$pattern"; else cat; fi || true)
if [ -z "$sources" ]; then
  echo "clang-tidy: $build holds no compiled source"
  exit 1
fi
xargs -P "$(nproc)" -I {} bash -c 'check {} || exit 1' <<<"$sources" || {
  echo "clang-tidy: see above"
  exit 1
}
