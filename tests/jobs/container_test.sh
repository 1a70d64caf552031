#!/usr/bin/env bash
# container_test.sh TRIREME CASE: an image made by jobs/container/install.sh, on a Debian root from debootstrap in place of
# the published base image; then, as a user without rights, on a read-only root, without network, 2 ranks train there and
# restart. Cases are the functions below.
folder=$(mktemp -d /var/tmp/trireme-container-XXXXXX)
trap 'rm -rf --one-file-system "$folder"' EXIT
# shellcheck source=tests/jobs/support.sh
. "$(dirname "$0")/support.sh"
skip() { echo "SKIPPED: $1" && exit 77; }
image=$folder/root

# The image's last stage, of what was built here; no container engine is needed.
LongImage_trains_without_network_and_restarts() {
  make_root "$image"
  "$root/jobs/container/install.sh" collect "$root" "$(dirname "$TRIREME")" "$image/opt/trireme"
  # This machine may be behind its archive, unlike the two stages of an image, which see the same one.
  sed -i 's/=.*//' "$image/opt/trireme/packages"
  # shellcheck disable=SC2016  # the inner shell's
  unshare --mount bash -euc 'mount -t proc proc "$1/proc"
    chroot "$1" /opt/trireme/jobs/container/install.sh runtime /opt/trireme' bash "$image" >"$log" 2>&1 || fail "runtime"
  expect_a_safe_image_that_trains
}

# The Dockerfile itself, both stages, by Buildah; packages are those of today, as is the compiler's cache of this machine.
LongDockerfile_makes_an_image_that_trains() {
  command -v buildah >/dev/null || skip "found no buildah; apt-get install buildah brings it"
  make_root "$folder/base"
  local base container
  export BUILDAH_ISOLATION=chroot
  store() { buildah --root "$folder/store" --runroot "$folder/run" --storage-driver vfs "$@"; }
  base=$(store from scratch)
  store copy --quiet "$base" "$folder/base" / >/dev/null
  store config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$base"
  store commit --quiet --rm "$base" docker.io/library/debian:12.12-slim >/dev/null
  rm -rf --one-file-system "$folder/base"
  local cache=()
  if command -v ccache >/dev/null; then cache=(--volume "$(ccache -k cache_dir):/root/.cache/ccache:rw"); fi
  store bud --pull-never --network=host --build-arg=SNAPSHOT= "${cache[@]}" --file="$root/jobs/container/Dockerfile" \
    --tag=trireme "$root" >"$log" 2>&1 || fail "building the image"
  local said
  said=$(store inspect --type=image --format='{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}' trireme)
  [ "$said" = "10001:10001 [/opt/trireme/jobs/mpirun.sh]" ] || fail "the image says: $said"
  container=$(store from --pull-never trireme)
  image=$(store mount "$container")
  expect_a_safe_image_that_trains
}

# make_root FOLDER: Debian with this machine's archive and its keys, as a published base image has them.
make_root() {
  [ "$(id -u)" -eq 0 ] || skip "making a Debian root needs root"
  command -v debootstrap >/dev/null || skip "found no debootstrap; jobs/install.sh --tests installs it"
  unshare --net --mount true 2>/dev/null || skip "this machine refuses name spaces"
  local mirror
  mirror=$(apt-get indextargets --format '$(SITE)' "Codename: bookworm" 2>/dev/null | head -n 1)
  [ -n "$mirror" ] || skip "apt knows no archive of Debian bookworm"
  debootstrap --variant=minbase bookworm "$1" "$mirror" >"$log" 2>&1 || skip "debootstrap failed: $(tail -n 3 "$log")"
  rm -f "$1/etc/apt/sources.list"
  cp -rL /etc/apt/sources.list.d /etc/apt/apt.conf.d "$1/etc/apt/"
  [ ! -e /etc/apt/sources.list ] || cp /etc/apt/sources.list "$1/etc/apt/"
  cp /etc/resolv.conf "$1/etc/" 2>/dev/null || true
  mkdir -p "$1/etc/ssl"
  cp -rL /usr/share/keyrings "$1/usr/share/" && cp -rL /etc/ssl/certs "$1/etc/ssl/" 2>/dev/null || true
}

expect_a_safe_image_that_trains() {
  no_compiler_no_set_uid_file_no_password
  prepare_run
  mkdir "$image/work/runs"
  sed -e "s|$folder|/work/runs|" "$folder/run.ini" >"$image/work/runs/run.ini"
  cp "$folder/train.h5" "$image/work/runs"
  chown -R 10001:10001 "$image/work/runs"

  local train=(/opt/trireme/jobs/mpirun.sh 2 train --config=/work/runs/run.ini)
  inside "$folder/first" "${train[@]}" --train.steps=40 || fail "$(cat "$folder/first")"
  inside "$folder/second" "${train[@]}" --train.steps=60 || fail "$(cat "$folder/second")"
  grep -q 'resumed     step 40 from /work/runs/checkpoints/step-00000040' "$folder/second" ||
    fail "no restart: $(cat "$folder/second")"
  cp "$image/work/runs/metrics.jsonl" "$folder"
  expect_whole_run 60

  inside "$folder/rights" bash -c 'id -u; touch /etc/x /opt/x /usr/x; ls /sys/class/net; grep CapEff /proc/self/status' || true
  grep -qx 10001 "$folder/rights" || fail "another user: $(cat "$folder/rights")"
  [ "$(grep -c 'Read-only file system' "$folder/rights")" -eq 3 ] || fail "root is writable: $(cat "$folder/rights")"
  grep -q 'CapEff:.*0000000000000000' "$folder/rights" || fail "capabilities: $(cat "$folder/rights")"
}

no_compiler_no_set_uid_file_no_password() {
  local found
  found=$(find "$image" -xdev -type f -perm /6000)
  [ -z "$found" ] || fail "set-uid files: $found"
  found=$(find "$image" -xdev \( -name 'gcc*' -o -name 'g++*' -o -name 'cc1*' -o -name nvcc \) -path '*bin*')
  [ -z "$found" ] || fail "compilers: $found"
  ! grep -E '^(root|trireme):[^!*:]' "$image/etc/shadow" || fail "an account has a password"
  found=$(find "$image/etc/ssh" "$image/home" -name '*key*' -o -name 'id_*')
  [ -z "$found" ] || fail "keys in the image: $found"
}

# inside OUTPUT COMMAND...: on a read-only root, where only /work/runs, /tmp and /dev/shm can be written; no network; no
# rights, and no way to any. As docker run --read-only --network=none --cap-drop=ALL.
inside() {
  local output=$1
  shift
  # shellcheck disable=SC2016  # the inner shell's
  unshare --net --mount --pid --fork --kill-child bash -euc '
    image=$1; shift
    mount --make-rprivate /
    mount --bind "$image" "$image"
    mount -t proc proc "$image/proc"
    mount -t tmpfs tmpfs "$image/tmp"
    mount --rbind /dev "$image/dev"
    mount -t tmpfs tmpfs "$image/dev/shm"
    mount --bind "$image/work/runs" "$image/work/runs"
    mount -o remount,bind,ro "$image"
    ip link set lo up 2>/dev/null || true
    exec chroot "$image" setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --bounding-set=-all \
      --inh-caps=-all env -i PATH=/usr/bin:/bin HOME=/home/trireme TRIREME=/opt/trireme/bin/trireme OMP_NUM_THREADS=1 \
      "$@"' bash "$image" "$@" >"$output" 2>&1
}

"$2"
