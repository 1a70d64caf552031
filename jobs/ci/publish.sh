#!/usr/bin/env bash
# publish.sh: puts the checkpoint of RUN that evaluate.sh passed into PUBLISH, with its figures, by one rename. Publishes
# nothing else, and nothing that is damaged.
# shellcheck source=jobs/ci/common.sh
. "$(dirname "$0")/common.sh"
need RUN
PUBLISH=${PUBLISH:-$RUN/published}
grep -q '"passed": true' "$RUN/figures.json" 2>/dev/null ||
  { echo "$stage: $RUN/figures.json: found no figures that passed, expected those of evaluate.sh" >&2 && exit 1; }
step=$(sed -n 's/.*"step": \([0-9]*\).*/\1/p' "$RUN/figures.json")
name=$(printf 'step-%08d' "$step")
"${TRIREME:-build/trireme}" inspect --verify "$RUN/checkpoints/$name"
rm -rf "$PUBLISH/$name.partial"
mkdir -p "$PUBLISH"
[ ! -e "$PUBLISH/$name" ] || refuse "$PUBLISH/$name: is published already"
cp -r "$RUN/checkpoints/$name" "$PUBLISH/$name.partial"
cp "$RUN/figures.json" "$PUBLISH/$name.partial"
mv "$PUBLISH/$name.partial" "$PUBLISH/$name"
echo "published $PUBLISH/$name"
