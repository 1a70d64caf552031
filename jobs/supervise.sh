#!/usr/bin/env bash
# supervise.sh [OPTION...] train [ARGUMENT...]: trains with mpirun, and starts again what fails: from the newest
# checkpoint, on the hosts that are left, on the layout nearest to the configured one that fits them.
#   jobs/supervise.sh --hosts=hosts.txt train --config run.ini --checkpoint.every=100
#   jobs/supervise.sh --ranks=8 train --config run.ini      # this machine only
#
#   --hosts=FILE         Open MPI's format: lines of `HOST slots=RANKS` (1 where not given). This machine must reach the
#                        hosts by ssh without a password; program, data and checkpoints lie at the same place on all.
#                        The file may change meanwhile, as Kubernetes' MPI operator changes it: see below
#   --ranks=N            instead: at most N ranks of this machine
#   --retries=8          restarts in a row without a newer checkpoint before it gives up (status 1)
#   --back-off=5         seconds before the first restart; twice as long each time without a newer checkpoint, up to:
#   --longest-back-off=300
#   --host-timeout=60    seconds after which a host that does not answer in mid-run counts as gone
#   --ssh-timeout=10     seconds in which a host must accept a connection before a start
#   --look-every=30      seconds between looks at hosts that are listed, but not used; 0: only when the file changes
#
# Hosts come and go while the job runs. It saves, and starts again on those that are listed and answer,
# - when one of its hosts is not listed any more, or with other slots;
# - when one that is listed and not used answers: at once where it has not been used yet; else, so that a host which
#   keeps failing does not keep the others from their work, once this attempt has made a checkpoint;
# - when one is about to go, as jobs/kubernetes/base/leave.sh tells: it has saved by then.
# So listing a host is how to have it used at once, and taking it off the list how to have it back without losing a step.
#
# SIGTERM or Ctrl-C saves and stops; a second one stops at once. Ends with 0: done; 1: gave up; 2: wrong input, which no
# restart mends; 75: stopped with everything saved, the same command goes on. One line an event goes to stderr, amid
# what the ranks say.
#
# No two jobs may write the same checkpoints. After a failure every host that answers has what is left of the job
# killed, by the mark that its environment bears. On a host that does not answer, Open MPI's daemon loses its
# connection as mpirun does, by keep-alive probes within --host-timeout, and kills its ranks; the restart waits for
# that. Should the daemon hang, those ranks cannot take a step without the others: train.watchdog ends them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
usage="expected supervise.sh [--hosts=FILE | --ranks=N] [--retries=N] [--back-off=SECONDS] [--longest-back-off=SECONDS] \
[--host-timeout=SECONDS] [--ssh-timeout=SECONDS] [--look-every=SECONDS] train [ARGUMENT...]"

say() { printf 'supervise.sh %(%F %T)T  %s\n' -1 "$*" >&2; }
finish() { say "$2" && exit "$1"; }
refuse() { echo "supervise.sh: $1" >&2 && exit 2; }

hosts='' ranks='' retries=8 back_off=5 longest_back_off=300 host_timeout=60 ssh_timeout=10 look_every=30
while [ $# -gt 0 ] && [ "$1" != train ]; do
  value=${1#*=}
  case $1 in
    --hosts=?*) hosts=$value ;;
    --ranks=* | --retries=* | --back-off=* | --longest-back-off=* | --host-timeout=* | --ssh-timeout=* | --look-every=*)
      [[ $value =~ ^[0-9]{1,6}$ ]] || refuse "$1: expected a whole number"
      name=${1%%=*} name=${name#--}
      declare "${name//-/_}=$((10#$value))"
      ;;
    *) refuse "found '$1', $usage" ;;
  esac
  shift
done
[ $# -gt 0 ] || refuse "found no 'train', $usage"
shift
[[ -n $hosts && -z $ranks || -z $hosts && -n $ranks ]] || refuse "found none or both of --hosts and --ranks; $usage"
[ "$ranks" != 0 ] || refuse "--ranks=0: expected at least 1"
[ "$host_timeout" -ge 8 ] || refuse "--host-timeout=$host_timeout: expected at least 8"
TRIREME=$(realpath --canonicalize-missing "${TRIREME:-$here/../build/trireme}")
export TRIREME
[ -x "$TRIREME" ] || refuse "found no $TRIREME, expected the program; build it, or name it in TRIREME"

# What the ranks are given: the layout is chosen at each start, and a restart must take the newest checkpoint.
train=()
arguments=("$@")
for ((i = 0; i < $#; ++i)); do
  case ${arguments[i]} in
    --parallel.data=* | --parallel.tensor=* | --parallel.pipeline=* | --checkpoint.resume=auto) ;;
    --parallel.data | --parallel.tensor | --parallel.pipeline) ((++i)) ;;
    --checkpoint.resume*) refuse "${arguments[i]}: restarts go on from the newest checkpoint, expected auto" ;;
    *) train+=("${arguments[i]}") ;;
  esac
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mark=$(hostname)-$$-$(date +%s)
left="grep -lzxsF TRIREME_RUN=$mark /proc/[0-9]*/environ | cut -d/ -f3" # processes of the job on a host
# shellcheck disable=SC2016  # awk's, not the shell's
slots_of='NF && $1 !~ /^#/ {
  slots = 1
  for (i = 2; i <= NF && $i !~ /^#/; ++i) if ($i ~ /^slots=[1-9][0-9]*$/) slots = substr($i, 7)
    else if ($i !~ /^max[-_]slots=/) { print "?", $0; exit }
  if (!($1 in sum)) order[++count] = $1
  sum[$1] += slots
} END { for (i = 1; i <= count; ++i) print order[i], sum[order[i]] }'
all_hosts=(localhost)
declare -A slots=() answers=()
listed='' # what the host file said when it was read
listed_now() { awk "$slots_of" "$hosts" 2>/dev/null; }
read_hosts() {
  all_hosts=() listed=$(listed_now)
  while read -r host number; do
    [ "$host" != '?' ] || refuse "--hosts=$hosts: found '$number', expected 'HOST slots=RANKS'"
    all_hosts+=("$host") slots[$host]=$number answers[$host]=1
  done <<<"$listed"
}
if [ -n "$hosts" ]; then
  [ -r "$hosts" ] || refuse "--hosts=$hosts: found no such file"
  read_hosts
  [ -n "$listed" ] || refuse "--hosts=$hosts: found no host, expected lines of 'HOST slots=RANKS'"
fi
# A file that is being written, or wrong by now, changes nothing.
other_hosts_are_listed() {
  local now
  now=$(listed_now) && [ -n "$now" ] && [ "$now" != "$listed" ] && [[ $now != *'?'* ]]
}

# What makes a host one that can start ranks. leave.sh makes the file.
usable=$(printf 'cd %q && test -x %q' "$PWD" "$TRIREME")
usable+=' && if [ -O /dev/shm/trireme-leaves ]; then echo "it is about to go" >&2; false; fi'

names_here=" localhost 127.0.0.1 $(hostname) $(hostname -s) $(hostname -f) $(hostname -I) "

# on HOST COMMAND: as the shell reads it.
on() {
  if [[ $names_here == *" $1 "* ]]; then
    timeout $((ssh_timeout + 10)) bash -c "$2"
  else
    timeout $((ssh_timeout + 10)) ssh -n -o BatchMode=yes -o ConnectTimeout="$ssh_timeout" "$1" "$2"
  fi
}

# for_all COMMAND: on every host at once; who succeeds is noted in `answers`, and what was said in error-HOST.
for_all() {
  local host
  rm -f "$scratch"/answer-*
  for host in "${all_hosts[@]}"; do
    { on "$host" "$1" >/dev/null 2>"$scratch/error-$host" && touch "$scratch/answer-$host"; } &
  done
  wait
  for host in "${all_hosts[@]}"; do
    answers[$host]=''
    if [ -e "$scratch/answer-$host" ]; then answers[$host]=1; fi
  done
}

# Finds the hosts that can start ranks now: sets `ranks` and `where`, and writes the host file.
find_hosts() {
  local host error
  where="this machine"
  [ -n "$hosts" ] || return 0
  if other_hosts_are_listed; then read_hosts; fi
  for_all "$usable"
  ranks=0 where=''
  : >"$scratch/hosts"
  for host in "${all_hosts[@]}"; do
    if [ -z "${answers[$host]}" ]; then
      error=$(tail -n 1 "$scratch/error-$host")
      say "$host is left out: ${error:-no answer, or no $TRIREME there}"
    else
      echo "$host slots=${slots[$host]}" >>"$scratch/hosts"
      ranks=$((ranks + ${slots[$host]})) where+="${where:+, }$host"
    fi
  done
}

# Asks for the layout on $1 ranks: sets `start`, `layout` and `step`, that of the newest checkpoint.
find_layout() {
  local text status=0
  text=$("$TRIREME" layout "${arguments[@]}" --layout.ranks="$1") || status=$?
  [ "$status" -ne 2 ] || finish 2 "wrong input, see above; no restart mends it"
  [ "$status" -eq 0 ] || return "$status"
  read -r start layout <<<"${text%%$'\n'*}"
  step=${text##*step }
}

# answering HOST...: those that can start ranks now.
answering() {
  local host
  rm -f "$scratch"/look-*
  for host in "$@"; do
    { on "$host" "$usable" >/dev/null 2>&1 && touch "$scratch/look-$host"; } &
  done
  wait
  for host in "$@"; do
    if [ -e "$scratch/look-$host" ]; then echo "$host"; fi
  done
}

# Has a job save and stop when it is to go on on other hosts. A host that was taken off the list and does not answer has
# gone by itself: the job is saving already, or fails.
follow_hosts() {
  local now before='' used gone new host due='' looked=0 begun=$step
  used=$(sort "$scratch/hosts")
  while [ -z "$due" ] && sleep 1 && kill -0 "$1" 2>/dev/null; do
    now=$(listed_now | sed 's/ / slots=/' | sort) || continue
    if [ -z "$now" ] || [[ $now == *'?'* ]]; then continue; fi
    gone=$(comm -13 <(echo "$now") <(echo "$used") | cut -d' ' -f1)
    new=$(comm -23 <(echo "$now") <(echo "$used") | cut -d' ' -f1)
    if [ "$now" = "$before" ] && { [ "$look_every" -eq 0 ] || [ $((SECONDS - looked)) -lt "$look_every" ]; }; then continue; fi
    before=$now looked=$SECONDS
    # shellcheck disable=SC2086  # names have no blanks
    for host in $(answering $gone $new); do
      if grep -qxF "$host" <<<"$gone" || [ ! -e "$scratch/used-$host" ] ||
        (find_layout 1 2>/dev/null && [ "$step" -gt "$begun" ]); then due=1; fi
    done
    # Ranks that are still being started could not save.
    if [ -n "$due" ] && ! on "${used%% *}" "$left | grep -q ." >/dev/null 2>&1; then due='' before=''; fi
  done
  [ -n "$due" ] || return 0
  touch "$scratch/resized"
  kill -TERM "$1" 2>/dev/null || true
}

# Whether a host of the job that has ended cannot be used any more. Finds the hosts.
a_host_left() {
  [ -n "$hosts" ] || return 1
  sort "$scratch/hosts" >"$scratch/before"
  find_hosts
  [ -n "$(comm -23 "$scratch/before" <(sort "$scratch/hosts"))" ]
}

# Runs the job; sets `status`. Its own session keeps the terminal's Ctrl-C away: it gets SIGTERM from here.
run_job() {
  local arguments_of_mpirun="-x TRIREME_RUN"
  if [ -n "$hosts" ]; then
    export MPIRUN_QUIET='' # or nobody would name the host of a rank that dies alone on it
    arguments_of_mpirun+=" --hostfile $scratch/hosts --map-by slot"
    export OMPI_MCA_plm_rsh_args="-o BatchMode=yes -o ConnectTimeout=$ssh_timeout"
    export OMPI_MCA_oob_tcp_keepalive_time=$((host_timeout / 2)) OMPI_MCA_oob_tcp_keepalive_probes=4
    export OMPI_MCA_oob_tcp_keepalive_intvl=$((host_timeout / 8))
  fi
  # shellcheck disable=SC2086  # the layout is three words
  TRIREME_RUN=$mark MPIRUN_ARGUMENTS="${MPIRUN_ARGUMENTS:-} $arguments_of_mpirun" \
    setsid "$here/mpirun.sh" "$start" train "${train[@]}" $layout --checkpoint.resume=auto &
  job=$!
  if [ $stopping -gt 0 ]; then kill -TERM "$job" || true; fi
  rm -f "$scratch/resized"
  if [ -n "$hosts" ]; then
    cut -d' ' -f1 "$scratch/hosts" | while read -r host; do touch "$scratch/used-$host"; done
    follow_hosts "$job" &
    follower=$!
  fi
  interrupted=1
  while [ -n "$interrupted" ]; do # a signal ends `wait` early
    interrupted='' status=0
    wait "$job" || status=$?
  done
  job=''
  kill $follower 2>/dev/null || true
}

# Sees to it that nothing of the failed job is left before another may start: see above.
end_leftovers() {
  local ended=$SECONDS host silent=''
  for_all "while left=\$($left) && [ -n \"\$left\" ]; do kill -KILL \$left; sleep 0.1; done"
  for host in "${all_hosts[@]}"; do
    if [ -z "${answers[$host]}" ] && { [ -z "$hosts" ] || grep -q "^$host " "$scratch/hosts"; }; then silent+="${silent:+, }$host"; fi
  done
  [ -n "$silent" ] || return 0
  say "no answer from $silent: waiting $host_timeout s until the daemon there has ended its ranks"
  pause $((ended + host_timeout - SECONDS))
}

pause() {
  [ "$1" -gt 0 ] && [ "$stopping" -eq 0 ] || return 0
  sleep "$1" &
  wait $! || kill $! 2>/dev/null || true
}

# After a job: whether it ended only to go on on other hosts.
goes_on_elsewhere() {
  [ $stopping -eq 0 ] || return 1
  case $status in
    75) [ -e "$scratch/resized" ] || a_host_left ;;
    138) [ -e "$scratch/resized" ] && end_leftovers ;; # SIGUSR1 came before a rank could take it
    *) return 1 ;;
  esac
}

job='' follower='' stopping=0
request_stop() {
  interrupted=1
  stopping=$((stopping + 1))
  if [ -n "$job" ]; then kill -TERM "$job" 2>/dev/null || true; fi
  if [ $stopping -eq 1 ]; then say "asked to stop: saving"; else say "asked again: stopping at once"; fi
}
trap request_stop INT TERM HUP

attempt=0 failures=0 newest=-1
while :; do
  attempt=$((attempt + 1))
  find_hosts
  if [ "$ranks" -eq 0 ]; then
    outcome="no host can start ranks"
  elif ! find_layout "$ranks"; then
    outcome="asking for the layout failed"
  elif [ "$step" -eq 0 ] && [ "$newest" -gt 0 ]; then
    outcome="checkpoint.directory has lost its checkpoints, the newest of step $newest; is its file system mounted?"
  else
    outcome=''
  fi
  if [ -n "$outcome" ]; then
    say "attempt $attempt: not started: $outcome"
  else
    if [ "$newest" -lt 0 ]; then newest=$step; fi
    [ $stopping -eq 0 ] || finish 75 "stopped between two attempts; the newest checkpoint is of step $step"
    say "attempt $attempt: $start of $ranks ranks on $where, from step $step: $layout"
    run_job
    if goes_on_elsewhere; then
      say "attempt $attempt: saved, to go on with the hosts that $hosts lists and that answer"
      continue
    fi
    case $status in
      0) finish 0 "attempt $attempt: done" ;;
      2) finish 2 "attempt $attempt: wrong input, see above; no restart mends it" ;;
      75) finish 75 "attempt $attempt: stopped with everything saved; the same command goes on" ;;
    esac
    outcome="the job ended with status $status"
    if [ "$status" -gt 128 ] && [ "$status" -le 192 ]; then outcome="the job was ended by signal $((status - 128))"; fi
    say "attempt $attempt: $outcome"
    end_leftovers
    find_layout 1 || true
  fi
  [ $stopping -eq 0 ] || finish 1 "asked to stop, but $outcome; the newest checkpoint is of step ${step:-?}"

  failures=$((failures + 1))
  if [ "${step:-0}" -gt "$newest" ]; then newest=$step failures=1; fi
  [ $failures -le "$retries" ] ||
    finish 1 "giving up: $failures attempts in a row made no checkpoint newer than step $newest (last: $outcome; see above why)"
  delay=$((failures > 20 ? longest_back_off : back_off << (failures - 1)))
  delay=$((delay < longest_back_off ? delay : longest_back_off))
  say "attempt $((attempt + 1)) in $delay s"
  pause $delay
done
