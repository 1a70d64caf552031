#!/usr/bin/env bash
# slurm_test.sh TRIREME CASE: jobs/slurm/train.sbatch on a Slurm of this test's own. Status 77: skipped, and why.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/cluster.sh"
own_namespaces "$here/slurm_test.sh" "$(realpath "$1")" "$2"
source "$here/../jobs/support.sh"
cd "$folder"
# Retries follow as soon as Slurm allows where a case does not say otherwise.
export TRIREME_BACKOFF=0

arguments=(run.ini --log.timing=false --train.global_batch=32 --parallel.pipeline=2)

# The metrics of an undisturbed run of STEPS steps: expected.jsonl.
train_undisturbed() {
  "$root/tests/support/mpirun.sh" 2 "$TRIREME" train --config "${arguments[@]}" --train.steps="$1" \
    --checkpoint.directory= --log.metrics=expected.jsonl 2>undisturbed.log || fail "$(cat undisturbed.log)"
}

# submit STEPS [OPTION OF SBATCH...]: two ranks; STEPS may be empty, for what run.ini says. Sets job and log.
submit() {
  local steps=$1
  shift
  job=$(sbatch --parsable --ntasks-per-node=2 "$@" "$root/jobs/slurm/train.sbatch" "${arguments[@]}" \
    ${steps:+"--train.steps=$steps"})
  log=$folder/trireme-$job.log
}

job_says() { scontrol --oneliner show job "$job" | grep -oP "(?<= $1=)\S+"; }
expect_job_says() { [ "$(job_says "$1")" = "$2" ] || fail "$1 of the job is $(job_says "$1"), expected $2"; }
is_in_state() { [ "$(job_says JobState)" = "$1" ]; }
# The job is in the queue, and waits for this many seconds from now, or up to a minute less.
waits_up_to() {
  local seconds
  seconds=$(($(date -d "$(job_says EligibleTime)" +%s) - $(date +%s)))
  is_in_state PENDING && [ $seconds -gt $(($1 - 60)) ] && [ $seconds -le "$1" ]
}
finds() { [ -e "$log" ] && says "$1"; }
has_mode() { [ "$(stat -c %a "$2")" = "$1" ] || fail "$2 has the mode $(stat -c %a "$2"), expected $1"; }
is_in_life() { finds "life $1 of job $job"; }
# A cancelled job counts as ended while its ranks still save.
saved_last_step() { [ "$(newest_checkpoint)" = "$(steps_done)" ]; }
expect_undisturbed_metrics() {
  within 180 is_in_state COMPLETED
  cmp metrics.jsonl expected.jsonl || fail "the metrics differ from those of an undisturbed run"
}

# Stopped by the signal that comes ahead of the time limit, then robbed of a rank, the run ends as an undisturbed one.
goes_on_after_a_stop_and_a_killed_rank() {
  export TRIREME_LAUNCHER=$1
  start_cluster one
  train_undisturbed 250
  submit 250
  within 60 has_done 40
  scancel --batch --signal=USR1 "$job"
  within 60 is_in_life 2
  says "stopped with everything saved" || fail "the log does not tell of the stop"
  within 60 has_done $(($(newest_checkpoint) + 10))
  kill -KILL "$(pgrep -n -x trireme)"
  within 90 is_in_life 3
  says "failed with status [0-9]+; began at step [1-9]" || fail "the log does not tell of the failure"
  expect_undisturbed_metrics
}

cancelling_saves() {
  export TRIREME_LAUNCHER=$1
  start_cluster "${@:2}"
  submit 100000 --nodes=$(($# - 1)) --ntasks-per-node=$((3 - ($# - 1)))
  within 60 has_done 20
  scancel "$job"
  within 30 is_in_state CANCELLED
  within 30 saved_last_step
}

# Other wishes to stop: signals to the ranks and to the script. Each saves, and the job goes on.
signals_save() {
  export TRIREME_LAUNCHER=srun
  start_cluster one
  submit 100000
  local life=1 way
  for way in --signal=TERM --signal=USR1 "--batch --signal=TERM"; do
    within 60 has_done $(($(newest_checkpoint) + 20))
    # shellcheck disable=SC2086  # two words
    scancel $way "$job"
    within 60 is_in_life $((++life))
    [ "$(grep -c "stopped with everything saved" "$log")" -eq $((life - 1)) ] || fail "scancel $way did not save"
  done
}

wrong_input_ends_at_once() {
  start_cluster one
  arguments+=(--model.layers=none)
  submit 100
  within 30 is_in_state FAILED
  expect_job_says ExitCode 2:0
  expect_job_says Restarts 0
  TRIREME_LAUNCHER=ssh submit 100
  within 30 is_in_state FAILED
  expect_job_says ExitCode 2:0
}

gives_up_without_progress() {
  start_cluster one
  # shellcheck disable=SC2016  # the words of the inner shell
  printf '#!/bin/sh\n[ $1 = train ] && exit 3\nexec "%s" "$@"\n' "$TRIREME" >fails
  chmod +x fails
  TRIREME=$folder/fails TRIREME_RETRIES=2 TRIREME_BACKOFF=1000 submit 100 --ntasks-per-node=3
  local backoff
  for backoff in 1000 2000; do
    within 60 waits_up_to $backoff
    has_mode 640 "trireme-$job.failures"
    # Not now: what was issued in the second in which the last life ended does not count.
    scontrol update JobId="$job" StartTime=now+3
  done
  within 30 is_in_state FAILED
  expect_job_says ExitCode 3:0
  expect_job_says Restarts 2
  has_mode 640 "$log"
  says "starts 2 of 3 ranks" || fail "the layout was not made to fit the ranks"
}

# Another program has the port of the run's endpoint: that costs a life, and no more.
a_taken_port_is_named_and_left() {
  export TRIREME_MONITOR=127.0.0.1 TRIREME_LAUNCHER=srun
  start_cluster one
  TRIREME_BACKOFF=1000 submit 50 --hold
  local port=$((20000 + job % 10000))
  nsenter --net=/run/netns/one python3 -m http.server --bind 127.0.0.1 $port >http.log 2>&1 &
  scontrol release "$job"
  within 60 waits_up_to 1000
  says "monitor.listen: 127.0.0.1:$port cannot be listened on" || fail "the run did not name the port"
  [ "$(steps_done)" -eq 0 ] || fail "it trained although its port was taken"
  scontrol update JobId="$job" StartTime=now+3
  within 60 is_in_state COMPLETED
  says "monitor     http://127.0.0.1:$((20000 + (job + 101) % 10000))/metrics" || fail "the next life had no other port"
}

# A launcher that says 0 and has not trained, as srun does when tasks do not start, is not believed.
is_not_done_before_its_last_step() {
  start_cluster one
  # shellcheck disable=SC2016
  printf '#!/bin/sh\n[ $1 = train ] && exit 0\nexec "%s" "$@"\n' "$TRIREME" >sleeps
  chmod +x sleeps
  TRIREME=$folder/sleeps TRIREME_RETRIES=0 submit 100
  within 30 is_in_state FAILED
  expect_job_says ExitCode 1:0
}

# A minute is Slurm's shortest limit. The first life has more to do than a minute allows; the second one finishes.
goes_on_after_its_time_limit() {
  export TRIREME_LAUNCHER=$1
  start_cluster one
  sed -i 's/^\[train\]$/&\nsteps = 1000000/' run.ini
  submit '' --time=1 "${@:3}"
  within 150 finds "stopped with everything saved"
  says "stopped .* $2" || fail "the first life did not save $2"
  local steps=$(($(newest_checkpoint) + 100))
  sed -i "s/^steps = .*/steps = $steps/" run.ini
  within 60 is_in_life 2
  within 60 is_in_state COMPLETED
  train_undisturbed $steps
  expect_undisturbed_metrics
}

lacks_nodes() { is_in_state PENDING && [[ $(job_says Reason) =~ ^(ReqNodeNotAvail|Nodes_required|Resources) ]]; }

# The power of the first node, which bears the script, is cut: Slurm requeues the job. It goes on when the node is back,
# or, if it may, on the other one alone.
goes_on_after_a_power_cut() {
  export TRIREME_LAUNCHER=$1
  start_cluster one two
  arguments+=(--checkpoint.every=20)
  train_undisturbed 200
  submit 200 --nodes=2 --ntasks-per-node=1
  within 60 has_done 50
  kill_node one
  within 180 lacks_nodes
  if [ "$2" = one,two ]; then start_node one; else scontrol update JobId="$job" NumNodes=1 NumTasks=1; fi
  expect_undisturbed_metrics
  says "life 1 .* 2 of 2 ranks on one,two" || fail "the job did not begin on both nodes"
  says "life 2 .* 2 of 2 ranks on $2, from step [1-9]" || fail "the job did not go on on $2"
}

# A real Prometheus on the controller, which finds the jobs by monitor_targets.sh. The ranks' GPUs are those of a stub of
# NVIDIA's management library: number 0 works at 87%, number 1 idles at 3%.
watch_jobs() {
  command -v prometheus >/dev/null || { echo "SKIPPED: found no prometheus; jobs/install.sh --tests installs it" && exit 77; }
  sed -e 's/15s/250ms/; s/30s/1s/' -e '/- job_name: trireme$/,/labels:/d' "$root"/jobs/monitoring/prometheus.yml >prometheus.yml
  cp "$root"/jobs/monitoring/rules.yml .
  "$root"/jobs/slurm/monitor_targets.sh slurm_targets.json
  prometheus --config.file=prometheus.yml --storage.tsdb.path=series --web.listen-address=127.0.0.1:9090 >prometheus.log 2>&1 &
}
prometheus_says() {
  python3 -c 'import json, sys, urllib.parse as p, urllib.request as r
query = p.urlencode({"query": sys.argv[1]})
print(len(json.load(r.urlopen("http://127.0.0.1:9090/api/v1/query?" + query))["data"]["result"]))' "$1" 2>/dev/null || true
}
sees_jobs() {
  "$root"/jobs/slurm/monitor_targets.sh slurm_targets.json
  [ "$(prometheus_says 'trireme_gpu_utilization_ratio{user="root", node="one"}')" = "$1" ]
}
idle_release() {
  "$root"/jobs/slurm/idle_release.py --log=released.jsonl --window=8 --grace=2 "$@" >idle.log 2>&1 || fail "$(cat idle.log)"
}
looks_and_says() { idle_release "${@:2}" && grep -qE "$1" idle.log; }
is_held() { is_in_state PENDING && [ "$(job_says Priority)" = 0 ]; }

# A job whose GPUs idle is warned, then made to save and held; one that works is not touched. Released, it goes on, and
# what it was held for is forgotten.
idle_jobs_are_released() {
  export TRIREME_MONITOR=0.0.0.0 TRIREME_LAUNCHER=srun
  export LD_LIBRARY_PATH=${TRIREME%/*}/tests/nvml_stub
  start_cluster one
  watch_jobs
  CUDA_VISIBLE_DEVICES=0 submit 100000 --ntasks-per-node=2 \
    --export=ALL --job-name=busy
  local busy=$job
  arguments+=(--checkpoint.directory="$folder"/idle --log.metrics="$folder"/idle.jsonl)
  CUDA_VISIBLE_DEVICES=1 submit 100000
  within 60 sees_jobs 2
  within 60 looks_and_says "job $job of root: 1 GPUs idle on one: would warn"
  [ ! -s released.jsonl ] || fail "a dry run has written: $(cat released.jsonl)"
  looks_and_says "would warn" || fail "the dry run has warned"
  looks_and_says "warn$" --act || fail "no warning: $(cat idle.log)"
  within 10 finds "all 1 GPUs of this job idle"
  is_in_state RUNNING || fail "the warned job does not run"

  "$root"/jobs/slurm/idle_release.py --log=released.jsonl --window=8 --grace=2 --act --listen=127.0.0.1:9095 >webhook.log 2>&1 &
  within 60 webhook_releases
  is_held || fail "the job is $(job_says JobState), $(job_says Reason)"
  says "stopped with everything saved; held" || fail "the job has not saved"
  has_mode 640 released.jsonl
  grep -q '"action": "released", "job": "'"$job"'", "life": 1, "gpus": 1' released.jsonl || fail "$(cat released.jsonl)"
  [ "$(find idle -maxdepth 1 -name 'step-????????' | sort | tail -n 1 | sed 's/.*step-0*//')" = "$(wc -l <idle.jsonl)" ] ||
    fail "not all steps are saved"
  if grep -q "job $busy" released.jsonl idle.log; then fail "the job that works was spoken of"; fi
  [ "$(squeue -h -j "$busy" -o %T)" = RUNNING ] || fail "the job that works does not run"

  local steps
  steps=$(wc -l <idle.jsonl)
  scontrol release "$job"
  within 60 is_in_life 2
  within 60 idle_job_is_past $steps
  scancel --batch --signal=USR1 "$job"
  within 60 is_in_life 3
}
idle_job_is_past() { [ "$(wc -l <idle.jsonl)" -gt "$1" ]; }
webhook_releases() {
  python3 -c 'import urllib.request as r; r.urlopen("http://127.0.0.1:9095/", data=b"{}", timeout=5)' 2>/dev/null || return
  grep -q released released.jsonl
}

prepare_run
case $2 in
  goes_on_with_srun) goes_on_after_a_stop_and_a_killed_rank srun ;;
  LongGoes_on_with_mpirun) goes_on_after_a_stop_and_a_killed_rank mpirun ;;
  cancelling_saves_with_srun) cancelling_saves srun one ;;
  cancelling_saves_with_mpirun) cancelling_saves mpirun one ;;
  LongCancelling_saves_on_two_nodes_with_srun) cancelling_saves srun one two ;;
  LongCancelling_saves_on_two_nodes_with_mpirun) cancelling_saves mpirun one two ;;
  LongSignals_save) signals_save ;;
  # The program knows its end; --signal= takes away the script's warning.
  LongGoes_on_after_its_time_limit) goes_on_after_its_time_limit srun "ahead of the time limit" --signal=CONT@1 ;;
  LongGoes_on_after_a_warning) goes_on_after_its_time_limit mpirun "on request" ;;
  LongGoes_on_when_a_node_is_back_with_srun) goes_on_after_a_power_cut srun one,two ;;
  LongGoes_on_when_a_node_is_back_with_mpirun) goes_on_after_a_power_cut mpirun one,two ;;
  LongGoes_on_without_a_node) goes_on_after_a_power_cut srun two ;;
  *) "$2" ;;
esac
echo "passed after $SECONDS s"
