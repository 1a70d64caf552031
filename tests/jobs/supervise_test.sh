#!/usr/bin/env bash
# supervise_test.sh TRIREME CASE: jobs/supervise.sh on this machine. Cases are the functions below.
folder=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")") # in memory: on a busy disk, flushing takes seconds
trap '{ jobs -p; cat "$folder"/left*; } 2>/dev/null | xargs -r kill 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
# shellcheck source=tests/jobs/support.sh
. "$(dirname "$0")/support.sh"

# supervise OPTION... train ARGUMENT...: in the background.
supervise() {
  "$root/jobs/supervise.sh" --ranks=2 --back-off=0 "$@" --config="$folder/run.ini" </dev/null >"$log" 2>&1 &
  supervisor=$!
}
expect_status() {
  local status=0
  wait "$supervisor" || status=$?
  [ "$status" -eq "$1" ] || fail "expected status $1, found $status"
}
# Processes of this test's job, by the name of its configuration.
ranks_of_job() { pgrep -f "^$TRIREME train .*$folder/run.ini"; }
mpirun_of_job() { pgrep -f "^mpirun .*$folder/run.ini"; }

# More failures than retries, but each after a new checkpoint; the metrics are those of a run without failures.
goes_on_after_a_killed_rank_and_a_killed_mpirun() {
  "$root/jobs/mpirun.sh" 2 train --config="$folder/run.ini" --train.steps=600 >"$log" 2>&1 || fail "undisturbed run"
  without_times "$folder/metrics.jsonl" >"$folder/wanted"
  rm -r "$folder/checkpoints" "$folder/metrics.jsonl"

  supervise --retries=1 train --train.steps=600
  within 60 has_saved_after 0
  kill -KILL "$(ranks_of_job | tail -n 1)"
  within 60 says 'attempt 2: 2 of 2 ranks on this machine, from step [1-4]00:'
  within 60 has_saved_after "$(newest_checkpoint)"
  kill -KILL "$(mpirun_of_job)"
  expect_status 0
  [ "$(attempts)" -eq 3 ] || fail "expected 3 attempts"
  expect_says 'attempt 1: the job was ended by signal 9'
  expect_whole_run 600
  without_times "$folder/metrics.jsonl" | cmp - "$folder/wanted" || fail "the metrics are not those of an undisturbed run"
}

# As when the file system of the checkpoints is not mounted after a failure: no attempt begins anew there.
never_begins_anew() {
  supervise --back-off=1 train --train.steps=600
  within 60 has_saved_after 0
  kill -KILL "$(ranks_of_job | tail -n 1)"
  within 60 says 'attempt 2: 2 of 2 ranks on this machine, from step [1-4]00:'
  # Stopped, the ranks save nothing while the folder goes.
  within 60 ranks_are_there
  ranks_of_job | xargs kill -STOP
  mv "$folder/checkpoints" "$folder/gone"
  ranks_of_job | xargs kill -KILL
  within 60 says 'attempt 3: not started: checkpoint.directory has lost its checkpoints, the newest of step [1-9]'
  mv "$folder/gone" "$folder/checkpoints"
  expect_status 0
  expect_whole_run 600
}
ranks_are_there() { [ "$(ranks_of_job | wc -l)" -eq 2 ]; }

wrong_input_is_not_tried_again() {
  supervise train --train.steps=wrong
  expect_status 2
  expect_says 'train.steps .*wrong'
  supervise train --parallel.tensor=3
  expect_status 2
  expect_says 'does not divide model.heads'
  supervise train --train.steps=10 # to have a checkpoint
  expect_status 0
  supervise train --train.steps=20 --train.seed=4 # the ranks refuse another seed
  expect_status 2
  [ "$(attempts)" -eq 1 ] || fail "it was tried again"
  supervise train --checkpoint.resume=never
  expect_status 2
  expect_says 'expected auto'
  supervise --ranks=none train
  expect_status 2
  expect_says 'ranks=none: expected a whole number'
  echo 'host1 slots=two' >"$folder/hosts"
  supervise --hosts="$folder/hosts" train # beside --ranks
  expect_status 2
  "$root/jobs/supervise.sh" --hosts="$folder/hosts" train >"$log" 2>&1 && fail "it accepted slots=two"
  expect_says "found 'host1 slots=two', expected 'HOST slots=RANKS'"
}

# Ranks that end by SIGKILL, but leave a process of the job that nobody knows.
ends_what_a_failed_job_leaves() {
  mkdir "$folder/bin"
  cat >"$folder/bin/trireme" <<END
#!/bin/sh
if [ "\$1" = train ]; then
  setsid sleep 1000 </dev/null >/dev/null 2>&1 &
  echo "\$!" >>"$folder/left"
fi
exec "$TRIREME" "\$@"
END
  chmod +x "$folder/bin/trireme"
  TRIREME=$folder/bin/trireme supervise train --train.steps=300
  within 60 has_done 50
  local left
  left=$(paste -s -d, "$folder/left")
  [ "$(ps -o comm= -p "$left" | grep -c sleep)" -eq 2 ] || fail "expected two processes to be left"
  kill -KILL "$(ranks_of_job | tail -n 1)"
  within 60 says 'attempt 2: '
  ps -o stat= -p "$left" | grep -qv '^Z' && fail "processes of attempt 1 are left: $left"
  expect_status 0
}

# A program that tells the layout, but fails in training.
failing_program() {
  # shellcheck disable=SC2016  # the program's, not this shell's
  printf '#!/bin/sh\n[ "$1" = layout ] && exec "%s" "$@"\nexit 3\n' "$TRIREME" >"$folder/failing"
  chmod +x "$folder/failing"
  echo "$folder/failing"
}

gives_up_without_progress() {
  TRIREME=$(failing_program) supervise --retries=2 --back-off=1 train
  expect_status 1
  [ "$(attempts)" -eq 3 ] || fail "expected 3 attempts"
  expect_says 'attempt 2 in 1 s'
  expect_says 'attempt 3 in 2 s'
  expect_says 'giving up: 3 attempts in a row made no checkpoint newer than step 0 \(last: the job ended with status 3'
}

saves_and_stops_on_request() {
  supervise train --train.steps=60000 --parallel.data 1
  within 60 has_done 150
  kill -TERM "$supervisor"
  expect_status 75
  local stopped
  stopped=$(newest_checkpoint)
  [ "$stopped" -eq "$(steps_done)" ] || fail "stopped after $(steps_done) steps with a checkpoint of $stopped"
  supervise train --train.steps=$((stopped + 50)) # goes on, on the ranks that it wants now
  expect_status 0
  expect_says "attempt 1: 2 of 2 ranks on this machine, from step $stopped: --parallel.data=2"
  expect_whole_run $((stopped + 50))
}

# As at a time limit: the job stops by itself with everything saved.
ends_when_the_job_has_stopped() {
  supervise train --train.steps=60000
  within 60 has_done 150
  kill -USR1 "$(mpirun_of_job)"
  expect_status 75
  [ "$(attempts)" -eq 1 ] || fail "it was started again"
}

# While it waits for the next attempt there is nothing to save.
stops_between_attempts() {
  TRIREME=$(failing_program) supervise --back-off=200 train
  within 60 says 'attempt 2 in 200 s'
  kill -TERM "$supervisor"
  expect_status 75
  [ "$(attempts)" -eq 1 ] || fail "it was started again"
}

prepare_run
"$2"
