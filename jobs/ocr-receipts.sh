#!/usr/bin/env bash
# ocr-receipts.sh [--fresh]: trains a recogniser of receipt and invoice fields in one command: fonts, data set, training
# on 2 ranks, evaluation on lines that it never saw in a font that it never saw. Fails where more than 2% of their
# characters are wrong. Run it again: what is there is used again. --fresh begins anew.
set -euo pipefail
cd "$(dirname "$0")/.."
config=jobs/configs/ocr-receipts.ini
data=data/receipts run=runs/receipts
trireme=build/trireme

case "${1:-}" in
  "") ;;
  --fresh) rm -rf "$data" "$run" ;;
  *) echo "ocr-receipts.sh: unknown argument '$1'; expected nothing or --fresh" >&2 && exit 2 ;;
esac
[ -x "$trireme" ] || { echo "ocr-receipts.sh: found no $trireme; build it first: jobs/quickstart.sh does" >&2 && exit 2; }

. jobs/ocr-fonts.sh

if [ ! -e "$data/validation.h5" ]; then
  mkdir -p "$data"
  "$trireme" pack ocr --from=receipts --lines=40000 --validation-lines=1000 --fonts "${train_fonts[@]}" \
    --validation-fonts="$held_out_font" --output="$data/train.h5" --validation-output="$data/validation.h5"
fi

progress=plain
if [ -t 2 ]; then progress=bar; fi
jobs/mpirun.sh 2 train --config "$config" --log.progress="$progress" --log.every=100

measured=$(jobs/mpirun.sh 2 eval --config "$config")
echo "$measured"
LC_ALL=C awk '{
  for (i = 1; i < NF; ++i) if ($i == "character_error") error = $(i + 1) + 0
  if (error == "" || error >= 2) { print "ocr-receipts.sh: expected a character error below 2%"; exit 1 }
}' <<<"$measured"
printf 'Trained and evaluated in %d min %d s.\n' $((SECONDS / 60)) $((SECONDS % 60))
