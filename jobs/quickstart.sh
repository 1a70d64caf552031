#!/usr/bin/env bash
# quickstart.sh [--fresh]: from a bare Debian 12 to a trained Chinese GPT in one command: packages, build, corpus,
# data set, training on 4 MPI ranks (2 data-parallel x 2 pipeline stages), a stop and a restart on the way, samples.
# Run it again: what is there is used again, and only the training starts anew. --fresh packs again too.
set -euo pipefail
cd "$(dirname "$0")/.."
config=jobs/configs/quickstart.ini
run=runs/quickstart
trireme=build/trireme

case "${1:-}" in
  "") ;;
  --fresh) rm -rf data/train.h5 data/validation.h5 data/corpus ;;
  *) echo "quickstart.sh: unknown argument '$1'; expected nothing or --fresh" >&2 && exit 2 ;;
esac

bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1;36m' plain=$'\e[0m'; fi
heading() { printf '\n%s== %s%s  (%d s so far)\n' "$bold" "$1" "$plain" "$SECONDS"; }

heading "Packages"
jobs/install.sh

heading "Build"
[ -e build/CMakeCache.txt ] || cmake --preset release -DTRIREME_TESTS=OFF >/dev/null
cmake --build --preset release --target trireme

heading "Corpus: Chinese text out of Debian's packages"
if [ -e data/corpus/table.txt ]; then
  cat data/corpus/table.txt
else
  mkdir -p data/corpus
  jobs/corpus.sh data/corpus | tee data/corpus/table.tmp
  mv data/corpus/table.tmp data/corpus/table.txt
fi

heading "Data set: text becomes tokens in HDF5"
if [ ! -e data/train.h5 ] || [ ! -e data/pack.txt ]; then
  "$trireme" pack text --input data/corpus/*-zh*.txt --output=data/train.h5 --validation-output=data/validation.h5 \
    --validation-share=0.02 --tokenizer=characters --vocabulary=4000 >data/pack.tmp
  mv data/pack.tmp data/pack.txt
fi
cat data/pack.txt

heading "Training on 4 ranks: 2 data-parallel x 2 pipeline stages"
rm -rf "$run"
mkdir -p "$run"
steps_done() { if [ -e "$run/metrics.jsonl" ]; then wc -l <"$run/metrics.jsonl"; else echo 0; fi; }
steps=$(sed -n 's/^steps *= *//p' "$config")
# mpirun hands the ranks a pipe: only here can one see whether there is a terminal to draw a bar on.
progress=plain
if [ -t 2 ]; then progress=bar; fi
train=(jobs/mpirun.sh 4 train --config "$config" --log.progress="$progress" --log.every=25)

# Half-way the run is told to stop, as a cluster's scheduler would. It saves its shards and ends with status 75.
"${train[@]}" &
training=$!
trap 'kill "$training" 2>/dev/null || true' EXIT
while kill -0 "$training" 2>/dev/null && [ "$(steps_done)" -lt $((steps / 2)) ]; do sleep 1; done
kill -TERM "$training" 2>/dev/null || true
status=0
wait "$training" || status=$?
trap - EXIT
if [ "$status" -ne 75 ]; then
  echo "quickstart.sh: training was asked to stop and save (status 75), but ended with status $status" >&2
  exit 1
fi

heading "Stopped half-way. Its shards:"
"$trireme" inspect "$run/checkpoints"

heading "The same command again goes on from there"
"${train[@]}"

heading "What it writes"
for prompt in 子曰： 如果您要 使用这个选项; do
  "$trireme" sample --checkpoint.directory="$run/checkpoints" --sample.prompt="$prompt" --sample.tokens=80
  echo ----
done

heading "What it learned"
loss=$(sed -n 's/.*"validation_loss": *\([0-9.eE+-]*\).*/\1/p' "$run/metrics.jsonl" | tail -n 1)
read -r unigram bigram < <(sed -n 's/^ *validation loss *\([0-9.]*\) nats .* \([0-9.]*\) for a bigram.*/\1 \2/p' data/pack.txt)
printf 'Nats a token on text that it never saw:\n'
printf '  %-42s %.6s\n' "unigram model (how often characters occur)" "$unigram" "bigram model (pairs of characters)" "$bigram" \
  "this GPT" "$(LC_ALL=C printf %.4f "$loss")"
LC_ALL=C awk -v loss="$loss" -v unigram="$unigram" -v bigram="$bigram" 'BEGIN {
  if (loss >= unigram) { print "It has not learned."; exit 1 }
  print loss < bigram ? "It learned more than which character follows which." : "It learned more than how often characters occur." }'

printf '\nDone in %d min %d s. The executable: %s; the run: %s; next: README.md\n' \
  $((SECONDS / 60)) $((SECONDS % 60)) "$trireme" "$run"
