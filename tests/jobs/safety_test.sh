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

# A job of one host is nobody's business on the network. Open MPI 4's mpirun has no way to do without its control ports
# (IPv4 and IPv6): jobs/SECURITY.md tells of them.
on_one_host_no_rank_listens_beyond_loopback() {
  command -v ss >/dev/null || { echo "SKIPPED: found no ss; jobs/install.sh --tests installs it" && exit 77; }
  "$root/jobs/mpirun.sh" 2 train --config="$folder/run.ini" --train.steps=1000000 >"$log" 2>&1 &
  job=$!
  within 60 has_done 20
  session=$(pgrep --parent "$job" --exact mpirun)
  local open
  open=$(listening trireme | grep -vE '^(127\.|\[::1\])' || true)
  [ -z "$open" ] || fail "ranks accept connections at: $open"
}

prepare_run
"$2"
