#!/usr/bin/env bash
# install.sh [--tests]: installs what building (and testing) trireme needs and this machine lacks.
# As root through apt; otherwise says what is missing and ends with status 2. Quick when nothing is missing.
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config ca-certificates ccache
  openmpi-bin libopenmpi-dev openssh-client
  libhdf5-dev libdnnl-dev ocl-icd-opencl-dev libsentencepiece-dev libxxhash-dev
  libboost-program-options-dev libfmt-dev nlohmann-json3-dev
  libturbojpeg0-dev libpng-dev zlib1g-dev libfreetype-dev libharfbuzz-dev prometheus-cpp-dev libcivetweb-dev
  libcurl4-openssl-dev libssl-dev libicu-dev libopencc-dev
)
test_packages=(
  libgtest-dev libgmock-dev libbenchmark-dev
  clang-format clang-tidy-19 clang-19 libclang-rt-19-dev git xz-utils hdf5-tools python3 python3-h5py python3-numpy
  slurmctld slurmd slurm-client munge openssh-server iproute2
  prometheus prometheus-alertmanager chromium debootstrap python3-yaml groovy default-jre-headless
  fonts-wqy-zenhei fonts-wqy-microhei
)

case "${1:-}" in
  "") ;;
  --tests) packages+=("${test_packages[@]}") ;;
  *) echo "install.sh: unknown argument '$1'; expected nothing or --tests" >&2 && exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "install.sh: this is not a Debian or Ubuntu system. Install what these packages hold, then go on:" >&2
  echo "  ${packages[*]}" >&2
  exit 2
fi

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "All ${#packages[@]} packages are installed."
  exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
  printf 'Missing packages:\n' >&2
  printf '  %s\n' "${missing[@]}" >&2
  printf 'Install them with:\n  sudo apt-get install --no-install-recommends %s\n' "${missing[*]}" >&2
  exit 2
fi

echo "Installing ${#missing[@]} packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install_missing() { apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >"$log" 2>&1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# What comes with a service, for the tests, does not start it.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f "$log" $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
fi
# Lists that are absent or out of date: fetch them, and try again.
install_missing || { apt-get update -qq && install_missing; } || {
  tail -n 20 "$log" >&2
  echo "install.sh: apt-get could not install: ${missing[*]}" >&2
  exit 1
}
