#!/usr/bin/env bash
# doctor_test.sh TRIREME CASE: the doctor on three hosts joined by links (hosts.sh). Cases are the functions below.
if [ $# -eq 2 ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  "$(dirname "$0")/hosts.sh" 3 "$folder" "$0" "$@" "$folder"
  exit
fi
folder=$3
# shellcheck source=tests/jobs/support.sh
. "$(dirname "$0")/support.sh"

# on HOST COMMAND...
on() {
  local enter
  read -ra enter <"$folder/$1"
  nsenter "${enter[@]}" "${@:2}"
}
# doctor STATUS ARGUMENT...: on a rank of each host.
doctor() {
  local status=0
  MPIRUN_ARGUMENTS="--hostfile $folder/hosts --map-by node" on host1 "$root/jobs/mpirun.sh" 3 doctor \
    --config="$folder/run.ini" --train.global_batch=6 "${@:2}" >"$log" 2>&1 || status=$?
  [ "$status" -eq "$1" ] || fail "expected status $1, found $status"
}

three_hosts_in_good_order() {
  doctor 0
  expect_says '^OK +hosts +3 ranks on 3 hosts: host1 \(rank 0\), host2 \(rank 1\), host3 \(rank 2\)$'
  expect_says '^OK +clocks +within '
  expect_says '^OK +network +TCP over eth0.* between hosts$'
  expect_says '^OK +between-hosts +[0-9.]+ [um]s, [0-9.]+ [MG]B/s one way in the slowest of 3 pairs'
  expect_says '^OK +directory .* is shared by all 3 hosts, [0-9.]+ [MG]B/s written'
  expect_says '^0 WARN, 0 FAIL$'
}

# Each host has a folder of that name, and host3's is another.
a_directory_that_is_not_shared() {
  mkdir "$folder/checkpoints"
  on host3 mount -t tmpfs tmpfs "$folder/checkpoints"
  doctor 1
  expect_says '^FAIL +directory .*: host3 does not see what host1 writes there'
  local status=0
  MPIRUN_ARGUMENTS="--hostfile $folder/hosts --map-by node" on host1 "$root/jobs/mpirun.sh" 3 train \
    --config="$folder/run.ini" --train.global_batch=6 --train.steps=1 >"$log" 2>&1 || status=$?
  [ "$status" -eq 2 ] || fail "train: expected status 2, found $status"
  expect_says 'trireme: .*host3 does not see what host1 writes there'
}

# host1 reaches both others, which do not reach each other: what they send goes to an interface that is not there.
two_hosts_that_cannot_talk() {
  on host2 ip neighbour replace 10.77.0.3 lladdr 02:00:00:00:00:01 dev eth0
  on host3 ip neighbour replace 10.77.0.2 lladdr 02:00:00:00:00:01 dev eth0
  doctor 1 --timeout=1
  expect_says '^FAIL +start +rank 0 \(host1\): MPI has not brought all ranks together in 3 s'
  expect_says '^FAIL +start +rank [12] .* waits for connections from 10.77.0.[23] to 10.77.0.[23]:'
}

prepare_run
printf 'host%d slots=1\n' 1 2 3 >"$folder/hosts"
"$2"
