#!/usr/bin/env bash
# ci_test.sh TRIREME CASE: the stages that jobs/ci/Jenkinsfile calls. Cases are the functions below.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# shellcheck source=tests/jobs/support.sh
. "$(dirname "$0")/support.sh"
TRIREME=$(realpath "$TRIREME")
export RUN=$folder/run CONFIGURATION=$folder/run.ini RANKS=2 LARGEST_LOSS=100 IMAGE_TAG=''
stage() { "$root/jobs/ci/$1.sh" >"$log" 2>&1; }

# The pipeline is nothing but these scripts.
each_stage_does_its_part() {
  local called
  called=$(sed -n "s/.*sh '\(.*\)'.*/\1/p" "$root/jobs/ci/Jenkinsfile" | tr '\n' ' ')
  [ "$called" = "jobs/ci/test.sh jobs/ci/train.sh jobs/ci/evaluate.sh jobs/ci/publish.sh " ] || fail "Jenkinsfile: $called"
  TESTS=true stage test || fail "tests that pass"
  ! TESTS=false stage test || fail "failing tests passed"
  ! stage publish || fail "published without a checkpoint"
  stage train || fail "train"
  stage evaluate || fail "evaluate"
  grep -q '"step": 30, "validation_loss": [0-9.]*, "largest_loss": 100, "passed": true' "$RUN/figures.json" ||
    fail "figures: $(cat "$RUN/figures.json")"
  stage publish || fail "publish"
  "$TRIREME" inspect --verify "$RUN/published/step-00000030" >"$log" 2>&1 || fail "what was published is not whole"
  cmp "$RUN/figures.json" "$RUN/published/step-00000030/figures.json" || fail "no figures"
}

a_run_below_the_threshold_is_not_published() {
  stage train || fail "train"
  ! LARGEST_LOSS=0.001 stage evaluate || fail "a bad run passed"
  expect_says 'is above LARGEST_LOSS=0.001'
  ! stage publish || fail "a bad run was published"
  [ ! -e "$RUN/published" ] || fail "something was published"
}

prepare_run
sed -i -e "s|^\[model\]|data.validation = $folder/train.h5\n[model]|" -e 's/^\[train\]/[train]\nsteps = 30/' "$folder/run.ini"
"$2"
