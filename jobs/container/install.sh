#!/usr/bin/env bash
# install.sh STAGE...: what makes an image of trireme, called by the Dockerfile, the Apptainer definition and the test.
#   build SOURCE TREE [on|off]   installs compilers, builds SOURCE (with CUDA or not) and collects it into TREE
#   collect SOURCE BUILD TREE    what an image needs of a build: program, jobs, and the exact packages it runs with
#   runtime TREE                 makes this system an image: those packages, a user without rights, no set-uid files
# The final stage sees `runtime` only, so that nothing that compiles is in an image.
set -euo pipefail
fail() { echo "container/install.sh: $1" >&2 && exit 1; }

# Open MPI's launcher, and what Kubernetes' MPI operator starts ranks with.
launchers=(openmpi-bin openssh-client openssh-server procps)

# Packages as of a day (20251115T000000Z), where SNAPSHOT names one; else as the base's archive has them now. NVIDIA's
# own archive, of which nothing is installed, keeps no days.
use_snapshot() {
  [ -n "${SNAPSHOT:-}" ] || return 0
  local archive suite
  rm -rf /etc/apt/sources.list.d/*
  : >/etc/apt/sources.list
  case $(. /etc/os-release && echo "$ID") in
    debian)
      archive=http://snapshot.debian.org/archive
      printf 'deb [check-valid-until=no] %s bookworm main\n' "$archive/debian/$SNAPSHOT" >>/etc/apt/sources.list
      printf 'deb [check-valid-until=no] %s bookworm-security main\n' "$archive/debian-security/$SNAPSHOT" \
        >>/etc/apt/sources.list
      ;;
    ubuntu)
      for suite in noble noble-updates noble-security; do
        printf 'deb https://snapshot.ubuntu.com/ubuntu/%s %s main universe\n' "$SNAPSHOT" $suite >>/etc/apt/sources.list
      done
      ;;
    *) fail "/etc/os-release: expected a base of Debian 12 or Ubuntu 24.04" ;;
  esac
}

build() {
  local source=$1 tree=$2 cuda=${3:-off}
  use_snapshot
  "$source/jobs/install.sh"
  apt-get install -y -qq --no-install-recommends "${launchers[@]}"
  cmake -S "$source" -B /tmp/build -G Ninja -DCMAKE_BUILD_TYPE=Release -DTRIREME_TESTS=OFF -DWITH_CUDA="$cuda"
  cmake --build /tmp/build --target trireme
  collect "$source" /tmp/build "$tree"
}

# Names the package of every library that the program is linked to, and its version.
packages_of() {
  local library package
  {
    for library in $(ldd "$1" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p'); do
      package=$(dpkg-query -S "$library" 2>/dev/null || dpkg-query -S "$(realpath "$library")" 2>/dev/null ||
        dpkg-query -S "*/$(basename "$(realpath "$library")")" 2>/dev/null) || fail "no package holds $library"
      echo "${package%%:*}"
    done
    printf '%s\n' "${launchers[@]}" ca-certificates
  } | sort -u | while read -r package; do
    dpkg-query -W -f='${Package}=${Version}\n' "$package" | head -n 1
  done
}

collect() {
  local source=$1 build=$2 tree=$3
  mkdir -p "$tree/bin"
  cp -a "$source/jobs" "$source/LICENSE" "$tree"
  cp "$build/trireme" "$tree/bin/trireme"
  strip --strip-debug "$tree/bin/trireme"
  packages_of "$build/trireme" >"$tree/packages"
  chmod -R go-w,a+rX "$tree"
}

# make_user TREE: and what the MPI operator's pods need for ssh.
make_user() {
  groupadd --gid 10001 trireme
  useradd --uid 10001 --gid 10001 --create-home --shell /bin/bash trireme
  usermod --password '*' trireme # no password fits, but the account is not locked: sshd takes its key
  install -d -o trireme -g trireme -m 0750 /work /home/trireme
  install -d -m 0755 /etc/trireme
  install -m 0644 "$1/jobs/container/sshd_config" /etc/trireme/sshd_config
  install -m 0644 "$1/jobs/container/ssh_config" /etc/ssh/ssh_config.d/trireme.conf
}

runtime() {
  local tree=$1
  use_snapshot
  export DEBIAN_FRONTEND=noninteractive
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d # starts no service
  apt-get update -qq
  xargs apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 <"$tree/packages"
  apt-get clean
  rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/* /var/cache/apt/*.bin /etc/ssh/ssh_host_*
  make_user "$tree"
  find / -xdev -type f -perm /6000 -exec chmod a-s {} +
  local tool
  for tool in cc c++ gcc g++ clang ld as make cmake nvcc; do
    ! command -v "$tool" >/dev/null || fail "the image has $tool, expected nothing that compiles"
  done
  "$tree/bin/trireme" --version
}

case "${1:-}:$#" in
  build:3 | build:4 | collect:4 | runtime:2) "$@" ;;
  *) echo "container/install.sh: expected build SOURCE TREE [on|off], collect SOURCE BUILD TREE or runtime TREE" >&2 && exit 2 ;;
esac
