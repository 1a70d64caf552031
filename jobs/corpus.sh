#!/usr/bin/env bash
# corpus.sh FOLDER: makes a corpus of real Chinese text from Debian's packages. Writes FOLDER/PACKAGE.txt: UTF-8, one
# paragraph a line, documents separated by lines that hold only `%`. Packages are not installed, so no root is needed;
# they are kept in FOLDER/packages, and a second run needs no network.
set -euo pipefail
output=${1:?usage: corpus.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$output/packages"
output=$(cd "$output" && pwd)

# package, kind of its files, folder and name of those that hold text
sources=(
  'fortunes-zh            fortune  usr/share/games/fortunes               [a-z]*[a-z0]'
  'manpages-zh            man      usr/share/man/zh_CN                    *'
  'libreoffice-help-zh-cn html     usr/share/libreoffice/help/zh-CN/text  *.html'
)

deb_of() { find "$output/packages" -name "$1_*.deb" | sort -V | tail -n 1; }

for source in "${sources[@]}"; do
  package=${source%% *}
  [ -n "$(deb_of "$package")" ] && continue
  (cd "$output/packages" && apt-get -qq download "$package" 2>/dev/null) ||
    ([ "$(id -u)" -eq 0 ] && apt-get -qq update && cd "$output/packages" && apt-get -qq download "$package" 2>/dev/null) || {
    echo "corpus.sh: apt-get could not download $package; are Debian's sources set up, and 'apt-get update' done?" >&2
    exit 1
  }
done

unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
printf '%-24s %-24s %9s %7s %15s\n' package version documents MB 'Han characters'
total=(0 0 0)
for source in "${sources[@]}"; do
  read -r package kind folder pattern <<<"$source"
  deb=$(deb_of "$package")
  dpkg-deb --extract "$deb" "$unpacked/$package"
  find "$unpacked/$package/$folder" -type f -name '*.gz' -exec gzip -dqf {} +
  find "$unpacked/$package/$folder" -type f -name "$pattern" | LC_ALL=C sort |
    perl "$here/plain_text.pl" "$kind" >"$unpacked/$package.txt" 2>"$unpacked/counts"
  mv "$unpacked/$package.txt" "$output/$package.txt"
  read -r documents bytes han <"$unpacked/counts"
  total=($((total[0] + documents)) $((total[1] + bytes)) $((total[2] + han)))
  LC_ALL=C awk -v p="$package" -v v="$(dpkg-deb --field "$deb" Version)" -v d="$documents" -v b="$bytes" -v h="$han" \
    'BEGIN { printf "%-24s %-24s %9d %7.2f %15d\n", p, v, d, b / 1e6, h }'
done
LC_ALL=C awk -v d="${total[0]}" -v b="${total[1]}" -v h="${total[2]}" \
  'BEGIN { printf "%-24s %-24s %9d %7.2f %15d\n", "total", "", d, b / 1e6, h }'
