#!/usr/bin/env bash
# pods_test.sh TRIREME CASE: how Kubernetes' MPI operator starts and changes a job, played through without Kubernetes: a
# launcher and three workers (hosts.sh), reached by the image's ssh without root, the host file that the operator
# generates, and commands, probes, mounts and run.ini as jobs/kubernetes has them (pods.py). Cases are the functions
# below.
if [ $# -eq 2 ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  HOSTS_AS_PODS=1 "$(dirname "$0")/hosts.sh" 4 "$folder" "$0" "$@" "$folder"
  exit
fi
folder=$3
# shellcheck source=tests/jobs/support.sh
. "$(dirname "$0")/support.sh"

# on HOST COMMAND...: as the user of the image.
on() {
  local enter
  read -ra enter <"$folder/$1"
  nsenter "${enter[@]}" "$folder/as_user" "${@:2}"
}
# command_of NAME: sets `words` to what the manifest has a pod run.
command_of() { mapfile -t words <"$folder/commands/$1"; }

# The operator makes its host file of the number of workers, whether they run or not; it appears by a rename.
operator_lists() {
  local number
  mkdir -p "$folder/mpi"
  for ((number = 0; number < $1; ++number)); do
    echo "trireme-worker-$number.trireme.trireme.svc slots=1"
  done >"$folder/mpi/new"
  mv "$folder/mpi/new" "$folder/mpi/hostfile"
}

# The launcher's command and environment, in a hurry.
launch() {
  command_of launch
  on host1 env OMPI_MCA_orte_keep_fqdn_hostnames=true OMPI_MCA_orte_default_hostfile="$folder/mpi/hostfile" \
    OMPI_MCA_plm_rsh_args="-o ConnectionAttempts=10" OMPI_MCA_orte_set_default_slots=1 \
    "${words[0]}" --ssh-timeout=2 --look-every=1 "${words[@]:1}" --checkpoint.every=100 "$@" </dev/null >"$log" 2>&1 &
  supervisor=$!
}
end_launcher() {
  local status=0
  on host1 pkill -TERM --oldest -f supervise.sh
  wait "$supervisor" || status=$?
  [ "$status" -eq 75 ] || fail "expected status 75, found $status"
}
has_gone_on() { [ "$(steps_done)" -ge $(($1 + 10)) ]; }
first_step_of() { sed -n "s/.*attempt $1: .* from step \([0-9]*\): .*/\1/p" "$log"; }
# attempt NUMBER RANKS WORKERS: it has begun, where the one before had stopped: no step is lost.
attempt() {
  local hosts
  hosts=$(sed 's/[0-9]/trireme-worker-&\.trireme\.trireme\.svc/g; s/ /, /g' <<<"$3")
  within 30 says "attempt $1: $2 of $2 ranks on $hosts, from step "
  within 30 has_gone_on "$(first_step_of "$1")"
}
losses() { sed 's/.*"loss":\([^,]*\),.*/\1/' "$1"; }

workers_come_and_go() {
  ip link set host4 down
  operator_lists 2
  launch --train.global_batch=6
  attempt 1 2 "0 1"

  operator_lists 3 # its pod does not run yet
  within 10 has_gone_on "$(($(steps_done) + 50))"
  [ "$(attempts)" -eq 1 ] || fail "the run was disturbed for a worker that is not there"
  ip link set host4 up
  attempt 2 3 "0 1 2"

  command_of leave
  on host3 "${words[@]}" # worker 1 is evicted
  attempt 3 2 "0 2"
  expect_says 'trireme-worker-1.trireme.trireme.svc is left out: it is about to go'
  operator_lists 1
  attempt 4 1 "0"
  end_launcher
  ! says 'the job ended with status|was ended by signal' || fail "an attempt failed"
  local steps number
  steps=$(steps_done)
  expect_whole_run "$steps"
  for number in 2 3 4; do [ "$(first_step_of $number)" -gt 0 ] || fail "attempt $number began anew"; done

  "$root/jobs/mpirun.sh" 1 train --config="$folder/work/run/run.ini" --train.global_batch=6 \
    --train.steps="$steps" --log.metrics="$folder/wanted.jsonl" --log.events= --checkpoint.directory= \
    >"$folder/wanted.log" 2>&1 || fail "undisturbed run"
  paste <(losses "$folder/metrics.jsonl") <(losses "$folder/wanted.jsonl") | awk -v steps="$steps" '
    { difference = $1 > $2 ? $1 - $2 : $2 - $1 }
    difference > 1e-3 * $2 { print "step " NR ": loss " $1 ", expected " $2; wrong = 1 }
    END { exit wrong || NR != steps }' || fail "the losses are not those of an undisturbed run"
}

probe() {
  command_of "$1"
  on host2 timeout 5 "${words[@]}" >"$folder/probe" 2>&1
}
is_not() { ! probe "$1"; }

probes_tell_what_the_endpoints_tell() {
  operator_lists 1
  sed -i 's/slots=1/slots=2/' "$folder/mpi/hostfile"
  # Without ranks a worker is as well as its ssh server.
  probe ready && probe live || fail "a worker that waits: $(cat "$folder/probe")"
  ! TRIREME_SSH_PORT=9 probe ready || fail "ready without an ssh server"
  launch --train.watchdog=3
  within 30 is_not ready # from the first rank to the first step
  within 30 has_done 1
  within 10 probe ready
  probe live || fail "a worker that trains: $(cat "$folder/probe")"
  # No step ends; while the rank that serves is stopped as well, its watchdog does not count.
  on host2 pkill -STOP -x trireme
  sleep 3.2
  on host2 pkill -CONT --oldest -x trireme
  within 2 is_not live
  grep -q '/healthz says 503' "$folder/probe" || fail "the probe says: $(cat "$folder/probe")"
  ! on host2 "${words[0]}" wrong >"$folder/probe" 2>&1 || fail "it took 'wrong'"
}

# expect_denied WORDS ARGUMENT OF SSH...
expect_denied() {
  ! on host1 ssh "${@:2}" >"$log" 2>&1 || fail "let in: ssh ${*:2}"
  expect_says "$1"
}

a_worker_lets_in_only_the_jobs_key() {
  local worker=trireme-worker-0.trireme.trireme.svc
  [ "$(on host1 ssh $worker id -u)" = 10001 ] || fail "the job's key does not fit"
  on host1 ssh-keygen -q -t ecdsa -N '' -f "$folder/other"
  expect_denied 'Permission denied \(publickey\)' -i "$folder/other" -o IdentitiesOnly=yes $worker true
  expect_denied 'Permission denied \(publickey\)' -o PubkeyAuthentication=no $worker true
  expect_denied 'Permission denied \(publickey\)' -l root $worker true
  expect_denied 'administratively prohibited' -o LogLevel=INFO -W 127.0.0.1:2222 $worker # no way through to elsewhere
}

prepare_run
sed -i 's/^\[train\]/[train]\nsteps = 1000000/' "$folder/run.ini"
# What the pods mount. The overlay's run.ini is the base's with a model and a training of the test.
"$root/tests/jobs/pods.py" "$folder"
chmod u+w "$folder/work/run/run.ini"
awk '/^\[/ { ours = /model|train|optimizer/ } ours' "$folder/run.ini" >>"$folder/work/run/run.ini"
install -m 0644 "$folder/train.h5" "$folder/work/data/train.h5"
ln -s "$folder/work/checkpoints/run/metrics.jsonl" "$folder/metrics.jsonl"
# As the image has it, where the user may read it.
mkdir -p "$folder/image/build"
cp "$TRIREME" "$folder/image/build/trireme"
cp -r "$root/jobs" "$folder/image/jobs"
cd "$folder/work"
export TRIREME=$folder/image/build/trireme
"$2"
