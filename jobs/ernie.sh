#!/usr/bin/env bash
# ernie.sh: from Debian's packages to a pre-trained and a fine-tuned ERNIE in one command. Packs Chinese text with the
# words and entities of jieba's dictionary, pre-trains a small model with masks of three levels, fine-tunes it to tell
# which part of LibreOffice's manual a paragraph is from, and compares that with the same model without pre-training,
# with a bag of words and with the commonest label. One page of the manual in eight is held out from all training.
# What is there already is used again.
#
# As it came out on two cores that others used too: masked accuracy on held-out text, step 250 -> 4000, of characters
# 10.5% -> 28.6%, words 2.2% -> 13.5%, entities 1.6% -> 29.0%. Parts of the manual, 2000 labels: commonest label 43.9%,
# without pre-training 62.3%, pre-trained 73.0%, bag of words 73.6%: at this size pre-training brings ten points, and
# reaches the bag of words without beating it. Rate and length of the fine-tuning were chosen on a fifth of the train
# labels, not on the test.
set -euo pipefail
cd "$(dirname "$0")/.."
data=data/ernie
run=runs/ernie
trireme=${TRIREME:-build/trireme}
train_labels=2000 # paragraphs with a label, of all there are

heading() { printf '\n== %s  (%d s so far)\n' "$1" "$SECONDS"; }

if [ ! -x "$trireme" ]; then
  heading "Build"
  jobs/install.sh
  [ -e build/CMakeCache.txt ] || cmake --preset release -DTRIREME_TESTS=OFF >/dev/null
  cmake --build --preset release --target trireme
fi

heading "Corpus and dictionary out of Debian's packages"
mkdir -p $data
[ -e $data/corpus/libreoffice-help-zh-cn.txt ] || jobs/corpus.sh $data/corpus
packages=$data/corpus/packages
[ -n "$(find $packages -name 'python3-jieba_*.deb')" ] || (cd $packages && apt-get -qq download python3-jieba)
if [ ! -e $data/dict.txt ]; then
  dpkg-deb --fsys-tarfile $packages/python3-jieba_*.deb |
    tar -xO ./usr/lib/python3/dist-packages/jieba/dict.txt >$data/dict.tmp
  mv $data/dict.tmp $data/dict.txt
fi

heading "Paragraphs of the manual with the part they are from, every eighth page held out"
if [ ! -e $data/labels-test.tsv ]; then
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  dpkg-deb --extract $packages/libreoffice-help-zh-cn_*.deb "$unpacked"
  (cd "$unpacked/usr/share/libreoffice/help/zh-CN/text" && find . -name '*.html' | LC_ALL=C sort) >$data/pages
  LC_ALL=C awk 'NR % 8 != 0' $data/pages >$data/pages-train
  LC_ALL=C awk 'NR % 8 == 0' $data/pages >$data/pages-test
  plain() { # LIST: the pages' text
    (cd "$unpacked/usr/share/libreoffice/help/zh-CN/text" && perl "$OLDPWD/jobs/plain_text.pl" html) <"$1" 2>/dev/null
  }
  plain $data/pages-train >$data/manual-train.txt
  rm -f $data/labels-*
  for part in scalc swriter sbasic simpress smath schart; do
    for split in train test; do
      grep "^./$part/" $data/pages-$split >$data/pages-part
      plain $data/pages-part | awk -v label=${part#s} '/^%$/ { next } length($0) >= 24 && length($0) <= 180 && !seen[$0]++ { print label "\t" $0 }' \
        >>$data/labels-all-$split.tmp
    done
  done
  # A shuffle that is always the same; what is in both goes from the test.
  shuf --random-source=$data/dict.txt -n $train_labels $data/labels-all-train.tmp >$data/labels-train.tsv
  awk -F'\t' 'NR == FNR { seen[$2]; next } !($2 in seen)' $data/labels-all-train.tmp $data/labels-all-test.tmp >$data/labels-test.tmp
  mv $data/labels-test.tmp $data/labels-test.tsv
fi
wc -l $data/labels-train.tsv $data/labels-test.tsv

heading "Text becomes tokens, words and entities in HDF5"
if [ ! -e $data/train.h5 ] || [ ! -e $data/validation.h5 ]; then
  "$trireme" pack text --input $data/manual-train.txt $data/corpus/fortunes-zh.txt $data/corpus/manpages-zh.txt \
    --output=$data/train.h5 --validation-output=$data/validation.h5 --validation-share=0.02 \
    --tokenizer=wordpiece --vocabulary=4000 --width=fold --script=simplified --dictionary=$data/dict.txt
fi
# The labels of the test are those of the training: its data set tells them.
"$trireme" pack labels --input=$data/labels-train.tsv --output=$data/labels-train.h5 --tokenizer-from=$data/train.h5
"$trireme" pack labels --input=$data/labels-test.tsv --output=$data/labels-test.h5 --tokenizer-from=$data/labels-train.h5 >/dev/null

heading "Pre-training"
"$trireme" train --config jobs/configs/ernie-small.ini --log.every=50 "$@"

heading "Fine-tuning, from the pre-trained model and from nothing"
rm -rf $run/classifier $run/classifier.jsonl $run/scratch.jsonl
"$trireme" train --config jobs/configs/ernie-classify.ini --log.every=100
"$trireme" train --config jobs/configs/ernie-classify.ini --log.every=100 --train.init= --checkpoint.directory= \
  --log.metrics=$run/scratch.jsonl

heading "What it learned"
python3 jobs/ernie_table.py $run $data/labels-train.tsv $data/labels-test.tsv
