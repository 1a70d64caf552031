#!/usr/bin/env bash
# safety_test.sh TRIREME CASE: what jobs/SECURITY.md promises of whole jobs. Cases are the functions below.
folder=$(mktemp -d)
# shellcheck source=tests/jobs/support.sh
. "$(dirname "$0")/support.sh"
job=''
trap '[ -z "$job" ] || kill "$job" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT

# listening NAME: addresses at which the job's processes of that name accept connections or datagrams.
listening() {
  local processes
  processes=$(pgrep --session "$session" --exact "$1" | sed 's/.*/pid=&,/')
  [ -n "$processes" ] || fail "found no $1"
  ss --tcp --udp --listening --numeric --processes --no-header | grep -F "$processes" | awk '{ print $5 }' || true
}
beyond_loopback() { listening "$1" | grep -vE '^(127\.|\[::1\])' || true; }

# train ARGUMENT...: in the background; returns when it trains.
train() {
  command -v ss >/dev/null || { echo "SKIPPED: found no ss; jobs/install.sh --tests installs it" && exit 77; }
  rm -f "$folder/metrics.jsonl"
  "$root/jobs/mpirun.sh" 2 train --config="$folder/run.ini" --train.steps=1000000 --checkpoint.directory= "$@" \
    >"$log" 2>&1 &
  job=$!
  within 60 has_done 20
  session=$(pgrep --parent "$job" --exact mpirun)
}
stop() {
  kill -TERM "$job"
  wait "$job" || true
  job=''
}

# A job of one host is nobody's business on the network. Open MPI 4's mpirun has no way to do without its control ports
# (IPv4 and IPv6): jobs/SECURITY.md tells of them.
on_one_host_no_rank_listens_beyond_loopback() {
  local open without
  train
  open=$(beyond_loopback trireme)
  [ -z "$open" ] || fail "ranks accept connections at: $open"
  ! says '/metrics' || fail "it has an endpoint that nobody asked for"
  without=$(listening trireme | wc -l)
  stop

  train --monitor.listen=0
  open=$(beyond_loopback trireme)
  [ -z "$open" ] || fail "with monitor.listen=PORT ranks accept connections at: $open"
  [ "$(listening trireme | wc -l)" -eq $((without + 1)) ] || fail "expected one endpoint more, found $(listening trireme)"
  stop

  train --monitor.listen=0.0.0.0:0 # who asks for it, gets it
  [ "$(beyond_loopback trireme | wc -l)" -eq 1 ] || fail "this test sees no open port: $(listening trireme)"
}

# What jobs/ci writes besides the program.
what_the_pipeline_writes_is_for_owner_and_group() {
  local wrong
  umask 022
  sed -i -e "s|^\[model\]|data.validation = $folder/train.h5\n[model]|" "$folder/run.ini"
  sed -i -e 's/^\[train\]/[train]\nsteps = 10/' "$folder/run.ini"
  for stage in train evaluate publish; do
    RUN=$folder/new/run CONFIGURATION=$folder/run.ini LARGEST_LOSS=100 IMAGE_TAG='' "$root/jobs/ci/$stage.sh" \
      >"$log" 2>&1 || fail "$stage"
  done
  wrong=$(find "$folder/new" \( -type f -perm /0037 -o -type d -perm /0027 \) -printf '%M %p\n')
  [ -z "$wrong" ] || fail "others may read, or the group write: $wrong"
  [ -e "$folder/new/run/published/step-00000010/figures.json" ] || fail "nothing was published"
}

prepare_run
"$2"
