#!/usr/bin/env bash
# train.sh: trains CONFIGURATION on RANKS ranks into RUN. The same command again goes on where it stopped.
# shellcheck source=jobs/ci/common.sh
. "$(dirname "$0")/common.sh"
need CONFIGURATION RUN
[ -r "$CONFIGURATION" ] || refuse "CONFIGURATION=$CONFIGURATION: found no such file"
mkdir -p "$RUN"
trireme_on "${RANKS:-2}" train --config="$CONFIGURATION" --checkpoint.directory="$RUN/checkpoints" \
  --log.metrics="$RUN/metrics.jsonl" --log.events="$RUN/events.jsonl" --log.progress=plain
