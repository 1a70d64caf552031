#!/usr/bin/env bash
# ocr-full.sh [--minutes=10] [--steps=N] [--lines=400000] [--validation-lines=5000] [--keys=FILE] [KEY...]: a recogniser
# of PP-OCR's 6,623 characters and the space, as far as time on this machine's GPU allows, in one command: packs lines
# of real Chinese text from Debian's packages and of every character, one font held out; measures a few steps, and makes
# the learning rate fall to its end in as many as fit into the minutes; trains, and evaluates on held-out lines in the
# held-out font. KEYs such as --train.micro_batch=128 go to the training. Run it again: what is there is used again, and
# training goes on where the minutes ended it. rm -r runs/ocr begins anew, data/ocr too with other lines.
#
# The characters are ppocr_keys_v1.txt of PaddleOCR (Apache-2.0), which no Debian package has: --keys=FILE, or pip gets
# it out of the package paddleocr. TRIREME=build/trireme, RANKS=1 (GPUs), FONTS as of ocr-fonts.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
trireme=${TRIREME:-build/trireme}
config=jobs/configs/ocr-full.ini data=data/ocr run=runs/ocr
minutes=10 steps='' lines=400000 validation_lines=5000 keys='' more=()
for argument in "$@"; do
  case "$argument" in
    --minutes=*) minutes=${argument#*=} ;;
    --steps=*) steps=${argument#*=} ;;
    --lines=*) lines=${argument#*=} ;;
    --validation-lines=*) validation_lines=${argument#*=} ;;
    --keys=*) keys=${argument#*=} ;;
    --*.*) more+=("$argument") ;;
    *) echo "ocr-full.sh: unknown argument '$argument'; the top of the script has all" >&2 && exit 2 ;;
  esac
done
heading() { printf '\n== %s  (%d s so far)\n' "$1" "$SECONDS"; }
[ -x "$trireme" ] || { echo "ocr-full.sh: found no $trireme; build it first: jobs/quickstart.sh does" >&2 && exit 2; }
mkdir -p "$data" "$run"

if [ ! -e "$data/keys.txt" ]; then
  heading "The 6,623 characters"
  if [ -z "$keys" ]; then
    python3 -m pip download -q --no-deps --dest "$data/pip" 'paddleocr==2.7.3' || {
      echo "ocr-full.sh: pip could not get paddleocr==2.7.3; give --keys=FILE, one character a line" >&2
      exit 2
    }
    keys=$data/pip/ppocr_keys_v1.txt
    python3 -c 'import sys, zipfile
sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read("paddleocr/ppocr/utils/ppocr_keys_v1.txt"))' \
      "$data"/pip/paddleocr-*.whl >"$keys"
  fi
  # PP-OCR adds the space (use_space_char).
  awk '{ sub(/\r$/, ""); if ($0 != "") print; space = space || $0 == " " } END { if (!space) print " " }' "$keys" \
    >"$data/keys.tmp"
  mv "$data/keys.tmp" "$data/keys.txt"
fi
wc -l <"$data/keys.txt" | sed 's/$/ characters/'

if [ ! -e "$data/validation.h5" ]; then
  heading "Text out of Debian's packages, and lines of all characters"
  . jobs/ocr-fonts.sh
  [ -e "$data/corpus/libreoffice-help-zh-cn.txt" ] || jobs/corpus.sh "$data/corpus"
  # Real text has two thirds of the characters, and most of them rarely: each is 60 times in lines of 16 drawn ones.
  for _ in {1..60}; do grep -vxF -e ' ' -e '　' "$data/keys.txt"; done |
    shuf --random-source="$data/corpus/manpages-zh.txt" |
    paste -sd '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\n' >"$data/characters.txt"
  heading "Lines become pictures"
  "$trireme" pack ocr --from=text --input "$data"/corpus/*.txt "$data/characters.txt" --characters="$data/keys.txt" \
    --fonts "${train_fonts[@]}" --validation-fonts="$held_out_font" --validation-share=0.05 --height=48 --longest=16 \
    --widest=1024 --lines="$lines" --validation-lines="$validation_lines" --output="$data/train.h5" \
    --validation-output="$data/validation.h5"
fi

train() { TRIREME=$trireme jobs/mpirun.sh "${RANKS:-1}" train --config "$config" "${more[@]}" "$@"; }
if [ -n "$steps" ]; then
  echo "$steps" >"$run/steps"
elif [ ! -e "$run/steps" ]; then
  heading "How many steps fit into $minutes minutes"
  rm -f "$run/probe.jsonl"
  train --train.steps=100 --log.metrics="$run/probe.jsonl" --log.events= --checkpoint.directory= --data.validation= \
    --log.every=20
  python3 - "$run/probe.jsonl" "$minutes" >"$run/steps" <<'PYTHON'
import json, statistics, sys
seconds = [json.loads(line)["step_seconds"] for line in open(sys.argv[1])][40:]
usual = [s for s in seconds if s < 3 * statistics.median(seconds)]  # a width that is new takes longer, once
print(max(100, int(0.95 * 60 * float(sys.argv[2]) / statistics.mean(usual))))
PYTHON
fi
steps=$(<"$run/steps")

heading "Training, $steps steps"
status=0
train --train.steps="$steps" --optimizer.warmup_steps=$((steps / 20 + 1)) --train.time_limit=$((minutes * 60)) \
  --log.every=50 || status=$?
case $status in
  0) ;;
  75) echo "ocr-full.sh: $minutes minutes are over; the same command goes on" ;;
  *) exit $status ;;
esac

heading "On held-out lines in a held-out font"
TRIREME=$trireme jobs/mpirun.sh "${RANKS:-1}" eval --config "$config" "${more[@]}"
exit $status
