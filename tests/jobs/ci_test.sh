#!/usr/bin/env bash
# ci_test.sh TRIREME CASE: jobs/ci, its pipeline and the stages that it calls. Cases are the functions below.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# shellcheck source=tests/jobs/support.sh
. "$(dirname "$0")/support.sh"
TRIREME=$(realpath "$TRIREME")
export RUN=$folder/runs/7 CONFIGURATION=$folder/run.ini RANKS=2 LARGEST_LOSS=100 IMAGE_TAG='' TESTS=true
stage() { "$root/jobs/ci/$1.sh" >"$log" 2>&1; }
# pipeline PARAMETER=VALUE...: what Jenkins would do. 77: without Groovy nothing reads its file.
pipeline() {
  local status=0
  WORKSPACE=$folder BUILD_NUMBER=7 "$root/tests/jobs/pipeline.py" run IMAGE_TAG= CONFIGURATION="$folder/run.ini" \
    RANKS=2 "$@" >"$log" 2>&1 || status=$?
  if [ $status -eq 77 ]; then cat "$log" && exit 77; fi
  return $status
}

the_pipeline_tests_trains_evaluates_and_publishes() {
  pipeline LARGEST_LOSS=100 || fail "the pipeline"
  [ "$(grep '^==' "$log" | sed 's/:.*//' | tr -d '\n')" = "== Test== Train== Evaluate== Publish" ] || fail "other stages"
  grep -q '"step": 30, "validation_loss": [0-9.]*, "largest_loss": 100, "passed": true, "configuration": "run.ini"' \
    "$RUN/figures.json" || fail "figures: $(cat "$RUN/figures.json")"
  [ "$(wc -l <"$RUN/metrics.jsonl")" -eq 30 ] || fail "metrics: $(wc -l <"$RUN/metrics.jsonl") steps"
  "$TRIREME" inspect --verify "$RUN/published/step-00000030" >"$log" 2>&1 || fail "what was published is not whole"
  cmp "$RUN/figures.json" "$RUN/published/step-00000030/figures.json" || fail "no figures"
  ! pipeline WRONG=1 || fail "it takes a parameter that is none"
  expect_says "found 'WRONG=1', expected IMAGE_TAG"
}

a_pipeline_ends_at_the_stage_that_fails() {
  ! TESTS=false pipeline || fail "failing tests passed"
  expect_says '== Test failed'
  [ ! -e "$RUN" ] || fail "it trained after its tests had failed"
  ! pipeline LARGEST_LOSS=0.001 || fail "a bad run passed"
  expect_says 'is above LARGEST_LOSS=0.001'
  expect_says '== Evaluate failed'
  grep -q '"passed": false' "$RUN/figures.json" || fail "figures: $(cat "$RUN/figures.json")"
  [ ! -e "$RUN/published" ] || fail "something was published"
  ! stage publish || fail "a bad run was published"
  expect_says 'found no figures that passed'
}

each_stage_refuses_what_it_cannot_use() {
  ! stage publish || fail "published without a checkpoint"
  ! stage evaluate || fail "evaluated without a checkpoint"
  local status=0
  CONFIGURATION=$folder/none.ini stage train || status=$?
  [ $status -eq 2 ] || fail "expected status 2, found $status"
  expect_says "CONFIGURATION=$folder/none.ini: found no such file"
  for name in CONFIGURATION RUN; do
    ! (export "$name=" && stage train) || fail "trained without $name"
    expect_says "$name: found nothing, expected a value in the environment"
  done
  if ! command -v docker >/dev/null; then
    status=0
    IMAGE_TAG=9.9 stage train || status=$?
    [ $status -eq 2 ] || fail "expected status 2 without docker, found $status"
    expect_says "IMAGE_TAG=9.9: found no docker, expected it here"
  fi
  stage train || fail "train"
  stage train || fail "a run that is done already"
  [ "$(wc -l <"$RUN/metrics.jsonl")" -eq 30 ] || fail "the same command did not go on where it had stopped"
  stage evaluate || fail "evaluate"
  local shard=$RUN/checkpoints/step-00000030/shard-00000.h5
  cp "$shard" "$folder/shard"
  printf 'damage' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc status=none
  ! stage publish || fail "a damaged checkpoint was published"
  [ ! -e "$RUN/published/step-00000030" ] || fail "something was published"
  cp "$folder/shard" "$shard"
  stage publish || fail "publish"
  status=0
  stage publish || status=$?
  [ $status -eq 2 ] || fail "published twice, status $status"
}

# In place of docker: notes what it is asked, and does it here.
an_image_is_used_without_network_or_rights() {
  mkdir "$folder/bin"
  cat >"$folder/bin/docker" <<END
#!/bin/bash
echo "\$@" >>"$folder/asked"
until [[ \$1 == *:9.9 ]]; do shift; done
shift
exec "$root/jobs/mpirun.sh" "\$@"
END
  chmod +x "$folder/bin/docker"
  IMAGE_TAG=9.9 PATH=$folder/bin:$PATH stage train || fail "train"
  for guard in --read-only --network=none --cap-drop=ALL --security-opt=no-new-privileges "--user $(id -u):$(id -g)" \
    "trireme:9.9 2 train --config=$folder/run.ini"; do
    grep -qF -- "$guard" "$folder/asked" || fail "docker was not asked for $guard: $(cat "$folder/asked")"
  done
  [ "$(wc -l <"$RUN/metrics.jsonl")" -eq 30 ] || fail "no 30 steps"
  IMAGE_TAG=9.9 PATH=$folder/bin:$PATH stage evaluate || fail "evaluate"
  grep -q '"image": "9.9"' "$RUN/figures.json" || fail "figures: $(cat "$RUN/figures.json")"
}

prepare_run
sed -i -e "s|^\[model\]|data.validation = $folder/train.h5\n[model]|" -e 's/^\[train\]/[train]\nsteps = 30/' \
  "$folder/run.ini"
"$2"
