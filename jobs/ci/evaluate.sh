#!/usr/bin/env bash
# evaluate.sh: measures the newest checkpoint of RUN on CONFIGURATION's validation set, and writes RUN/figures.json. Ends
# with status 1 where the loss is above LARGEST_LOSS.
# shellcheck source=jobs/ci/common.sh
. "$(dirname "$0")/common.sh"
need CONFIGURATION RUN LARGEST_LOSS
figures=$(trireme_on "${RANKS:-2}" eval --config="$CONFIGURATION" --checkpoint.directory="$RUN/checkpoints" --log.metrics=)
echo "$figures"
read -r step loss < <(sed -n 's/^step \([0-9]*\) .*loss \([0-9.eE+-]*\).*/\1 \2/p' <<<"$figures")
[ -n "${loss:-}" ] || { echo "$stage: found no loss in what eval says" >&2 && exit 1; }
verdict=$(LC_ALL=C awk -v loss="$loss" -v most="$LARGEST_LOSS" 'BEGIN { print loss + 0 <= most + 0 ? "true" : "false" }')
printf '{"step": %s, "validation_loss": %s, "largest_loss": %s, "passed": %s, %s}\n' "$step" "$loss" "$LARGEST_LOSS" \
  "$verdict" "$(printf '"configuration": "%s", "commit": "%s", "image": "%s"' "$(basename "$CONFIGURATION")" \
  "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" "${IMAGE_TAG:-}")" >"$RUN/figures.json"
[ "$verdict" = true ] || { echo "$stage: a loss of $loss is above LARGEST_LOSS=$LARGEST_LOSS" >&2 && exit 1; }
