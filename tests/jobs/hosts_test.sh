#!/usr/bin/env bash
# hosts_test.sh TRIREME CASE: training on three hosts joined by links (hosts.sh). Cases are the
# functions below.
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
ranks_on() { on "$1" pgrep -c -f "^$TRIREME train" || true; }

# What two of three hosts say to each other goes over the links; and what comes out are the bits of one host.
train_across_links_with_the_same_bits() {
  local layout=(--parallel.data=3 --train.global_batch=6 --train.steps=100)
  "$root/jobs/mpirun.sh" 3 train --config="$folder/run.ini" "${layout[@]}" >"$log" 2>&1 || fail "on one host"
  without_times "$folder/metrics.jsonl" >"$folder/wanted"
  rm -r "$folder/checkpoints" "$folder/metrics.jsonl"

  MPIRUN_ARGUMENTS="--hostfile $folder/hosts --map-by node" on host1 "$root/jobs/mpirun.sh" 3 train \
    --config="$folder/run.ini" "${layout[@]}" >"$log" 2>&1 || fail "on three hosts"
  without_times "$folder/metrics.jsonl" | cmp - "$folder/wanted" || fail "the metrics are not those of one host"
  local host bytes
  for host in host1 host2 host3; do
    bytes=$(ip -s link show "$host" | awk '/RX:/ { getline; print $1 }')
    # fp32 gradients of 26,800 parameters, at least once a step
    [ "$bytes" -gt $((100 * 4 * 26800)) ] || fail "$host sent only $bytes bytes"
  done
}

# host3 is cut off in mid-run.
go_on_without_one_that_is_cut_off() {
  start_supervisor
  lose_host3
  expect_says 'rank [01] \(host host[12]\) has not moved for 5 s: training > step [0-9]+ > .*(of pipeline|in world)'
  expect_says '--parallel.data=1 --parallel.tensor=1 --parallel.pipeline=2'
  expect_finish
}

# host3 comes back, host2 is cut off, and a rank dies too: mpirun would wait for host2.
LongGo_on_with_one_that_comes_back() {
  start_supervisor --look-every=0
  lose_host3
  within 60 has_done $(($(newest_checkpoint) + 75))
  ip link set host3 up
  ip link set host2 down
  local saved
  saved=$(newest_checkpoint)
  on host1 pkill -KILL trireme
  within 100 says 'attempt 3: 2 of 2 ranks on host1, host3, from step '
  [ "$(ranks_on host2)" -eq 0 ] || fail "host2 still has ranks of attempt 2"
  [ "$(first_step_of 3)" -ge "$saved" ] || fail "a checkpoint was lost"
  expect_says 'mpirun has waited 3 s for other hosts: ended'
  expect_finish
}

# host3 comes back, and nothing else happens: it is used once attempt 2 has made a checkpoint.
LongTake_back_one_that_answers_again() {
  start_supervisor --look-every=1
  lose_host3
  ip link set host3 up
  within 60 says 'attempt 3: 3 of 3 ranks on host1, host2, host3, from step '
  [ "$(first_step_of 3)" -ge $(($(first_step_of 2) / 50 * 50 + 50)) ] || fail "attempt 2 was stopped before its first checkpoint"
  [ "$(attempts)" -eq 3 ] || fail "expected 3 attempts"
  expect_finish
}

start_supervisor() {
  MPIRUN_PATIENCE=3 on host1 "$root/jobs/supervise.sh" --hosts="$folder/hosts" --back-off=0 --host-timeout=12 \
    --ssh-timeout=4 "$@" train --config="$folder/run.ini" --parallel.pipeline=3 --train.steps=600 --checkpoint.every=50 \
    --train.watchdog=5 </dev/null >"$log" 2>&1 &
  supervisor=$!
}
lose_host3() {
  local saved
  within 60 has_saved_after 0
  [ "$(ranks_on host3)" -eq 1 ] || fail "expected a rank on host3, found $(ranks_on host3)"
  ip link set host3 down
  saved=$(newest_checkpoint)
  within 100 says 'attempt 2: 2 of 2 ranks on host1, host2, from step '
  [ "$(ranks_on host3)" -eq 0 ] || fail "host3 still has ranks of attempt 1"
  [ "$(first_step_of 2)" -ge "$saved" ] || fail "a checkpoint was lost"
  expect_says 'no answer from host3: waiting'
  expect_says 'host3 is left out: ssh: .*host3'
}
expect_finish() {
  local status=0
  wait "$supervisor" || status=$?
  [ $status -eq 0 ] || fail "expected status 0, found $status"
  expect_whole_run 600
  expect_losses_of_an_undisturbed_run
}
first_step_of() { sed -n "s/.*attempt $1: .* from step \([0-9]*\): .*/\1/p" "$log"; }

# Same batches in the same order: on any layout the losses agree to rounding.
expect_losses_of_an_undisturbed_run() {
  "$root/jobs/mpirun.sh" 1 train --config="$folder/run.ini" --train.steps=600 --log.metrics="$folder/wanted.jsonl" \
    --checkpoint.directory= >"$folder/wanted.log" 2>&1 || fail "undisturbed run: $(cat "$folder/wanted.log")"
  paste <(losses "$folder/metrics.jsonl") <(losses "$folder/wanted.jsonl") | awk '
    { difference = $1 > $2 ? $1 - $2 : $2 - $1 }
    difference > 1e-3 * $2 { print "step " NR ": loss " $1 ", expected " $2; wrong = 1 }
    END { exit wrong || NR != 600 }' || fail "the losses are not those of an undisturbed run"
}
losses() { sed 's/.*"loss":\([^,]*\),.*/\1/' "$1"; }

prepare_run
printf 'host%d slots=1\n' 1 2 3 >"$folder/hosts"
"$2"
