# shellcheck shell=bash
# Sourced by the tests of jobs/: a tiny run, waiting for things, and judging what a run left. The sourcing script gives
# the program as its first argument; `folder` is its own and goes with it.
: "${folder:?}"
set -euo pipefail
export TRIREME=$1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive OMPI_MCA_mpi_yield_when_idle=1
export root
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
log=$folder/log

fail() {
  echo "FAILED: $*"
  if [ -e "$log" ]; then cat "$log"; fi
  exit 1
}

# within SECONDS COMMAND...: until it succeeds.
within() {
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    [ $SECONDS -lt $end ] || fail "waited $1 s in vain for: ${*:2}"
    sleep 0.05
  done
}

says() { grep -qE -- "$1" "$log"; }
expect_says() { says "$1" || fail "the log does not say '$1'"; }
attempts() { grep -c 'attempt [0-9]*: .* ranks on' "$log"; }

# Packs a text in which each character mostly decides the next, and writes run.ini. A step takes some milliseconds: what
# is to happen in mid-run happens before its end.
prepare_run() {
  awk 'BEGIN { srand(1); at = 0
    for (i = 1; i <= 12000; ++i) {
      at = rand() < 0.25 ? int(26 * rand()) : (at * 5 + 7) % 26
      printf "%c%s", 97 + at, i % 40 ? "" : "\n" } }' >"$folder/text.txt"
  "$TRIREME" pack text --tokenizer=characters --vocabulary=100 --input="$folder/text.txt" \
    --output="$folder/train.h5" >"$folder/pack.log" 2>&1 || fail "packing: $(cat "$folder/pack.log")"
  cat >"$folder/run.ini" <<END
data.train = $folder/train.h5
[model]
layers = 4
hidden = 64
heads = 4
context = 64
dropout = 0.1
[train]
global_batch = 8
micro_batch = 1
seed = 3
device = cpu
[optimizer]
learning_rate = 0.003
warmup_steps = 5
decay = constant
[checkpoint]
directory = $folder/checkpoints
every = 100
[log]
metrics = $folder/metrics.jsonl
progress = plain
every = 100
END
}

steps_done() { if [ -e "$folder/metrics.jsonl" ]; then wc -l <"$folder/metrics.jsonl"; else echo 0; fi; }
has_done() { [ "$(steps_done)" -ge "$1" ]; }
newest_checkpoint() { find "$folder/checkpoints" -maxdepth 1 -name 'step-????????' 2>/dev/null | sort | tail -n 1 | sed 's/.*step-0*//'; }
has_saved_after() { [ "0$(newest_checkpoint)" -gt "$1" ]; }

# expect_whole_run STEPS: the metrics tell each step exactly once, in order.
expect_whole_run() {
  diff <(seq "$1") <(sed 's/^{"step":\([0-9]*\),.*/\1/' "$folder/metrics.jsonl") >"$folder/diff" ||
    fail "metrics do not tell each of $1 steps once: $(head -n 5 "$folder/diff")"
}

# Metrics but for what tells times: equal runs have equal ones.
without_times() { sed 's/,"step_seconds".*//' "$1"; }
