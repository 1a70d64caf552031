#!/usr/bin/env bash
# ernie.sh: from Debian's packages to a pre-trained and fine-tuned ERNIE in one command. Packs Chinese text with the
# words and entities of jieba's dictionary, pre-trains a small model with masks of three levels, and fine-tunes it
# twice: to tell which part of LibreOffice's manual a paragraph is from, and to find persons, places and organisations.
# Beside them: the same model without pre-training, the commonest label, a bag of words, and a list of entities. One
# page of the manual and one document of the fortunes in eight are held out from all training; another page in eight is
# for choosing. The labels of entities are those of the dictionary, not of people: a list must win there. What is there
# already is used again.
#
# As it came out in 15 minutes on two cores: masked accuracy on held-out text, step 2000 -> 16000, of characters 20.0% ->
# 48.3%, words 10.8% -> 19.7%, entities 14.7% -> 38.8%. Parts of the manual, 2000 labels: commonest label 43.9%, without
# pre-training 70.6%, bag of words 74.7%, pre-trained 76.0%. F1 of entities: without pre-training 36.1%, pre-trained
# 46.7%, list 83.1%.
set -euo pipefail
cd "$(dirname "$0")/.."
data=data/ernie
run=runs/ernie
trireme=${TRIREME:-build/trireme}
train_labels=2000 # paragraphs with a label to learn from, of those there are

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

heading "Paragraphs of the manual with the part they are from, and entities of fortunes; an eighth is held out"
if [ ! -e $data/entities-test.conll ]; then
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  dpkg-deb --extract $packages/libreoffice-help-zh-cn_*.deb "$unpacked"
  manual=$unpacked/usr/share/libreoffice/help/zh-CN/text
  (cd "$manual" && find . -name '*.html' | LC_ALL=C sort) >$data/pages
  rm -f $data/pages-* $data/labels-*
  awk -v to=$data/pages- '{ print > (to (NR % 8 == 0 ? "test" : NR % 8 == 4 ? "development" : "train")) }' $data/pages
  plain() { # the text of the pages that standard input names
    (cd "$manual" && perl "$OLDPWD/jobs/plain_text.pl" html 2>/dev/null)
  }
  plain <$data/pages-train >$data/manual-train.txt
  for split in train development test; do
    for part in scalc swriter sbasic simpress smath schart; do
      { grep "^./$part/" $data/pages-$split || true; } | plain | LC_ALL=C awk -v label=${part#s} '
        /^%$/ || length($0) < 24 || length($0) > 180 || seen[$0]++ { next }
        { print label "\t" $0 }'
    done >$data/labels-all-$split.tmp
  done
  # What several parts or splits have tells nothing: it is left out.
  cut -f2 $data/labels-all-*.tmp | LC_ALL=C sort | LC_ALL=C uniq -d >$data/labels-twice
  for split in train development test; do
    awk -F'\t' 'NR == FNR { twice[$0]; next } !($2 in twice)' $data/labels-twice $data/labels-all-$split.tmp \
      >$data/labels-$split.tsv
  done
  shuf --random-source=$data/dict.txt -n $train_labels $data/labels-train.tsv >$data/labels-few.tsv # always the same

  awk -v to=$data/fortunes- '/^%$/ { document++ } { print > (to (document % 8 == 7 ? "test" : "train") ".txt") }' \
    $data/corpus/fortunes-zh.txt
  python3 jobs/ernie_entities.py $data/dict.txt $data/fortunes-train.txt >$data/entities-train.conll
  python3 jobs/ernie_entities.py $data/dict.txt $data/fortunes-test.txt >$data/entities-test.tmp
  mv $data/entities-test.tmp $data/entities-test.conll
fi

heading "Text becomes tokens, words and entities in HDF5"
if [ ! -e $data/train.h5 ] || [ ! -e $data/validation.h5 ]; then
  "$trireme" pack text --input $data/manual-train.txt $data/fortunes-train.txt $data/corpus/manpages-zh.txt \
    --output=$data/train.h5 --validation-output=$data/validation.h5 --validation-share=0.02 \
    --tokenizer=wordpiece --vocabulary=4000 --width=fold --script=simplified --dictionary=$data/dict.txt
fi
pack() { # NAME KIND INPUT FROM
  "$trireme" pack labels --of=$2 --input=$data/$3 --output=$data/$1.h5 --tokenizer-from=$data/$4.h5
}
pack labels-train texts labels-few.tsv train
# The labels of the test are those of the training: its data set tells them.
pack labels-development texts labels-development.tsv labels-train >/dev/null
pack labels-test texts labels-test.tsv labels-train >/dev/null
pack entities-train tokens entities-train.conll train
pack entities-test tokens entities-test.conll entities-train >/dev/null

heading "Pre-training"
"$trireme" train --config jobs/configs/ernie-small.ini --log.every=100 "$@"

heading "Fine-tuning, from the pre-trained model and from nothing"
rm -rf $run/classifier* $run/entities* $run/scratch*
fine_tune() { # NAME CONFIGURATION OPTION...: trains and evaluates on the test
  "$trireme" train --config jobs/configs/$2.ini --log.every=100 --checkpoint.directory=$run/$1 \
    --log.metrics=$run/$1.jsonl "${@:3}"
  "$trireme" eval --config jobs/configs/$2.ini --checkpoint.directory=$run/$1 \
    --data.validation=$data/${2/ernie-/}-test.h5 | tee $run/$1.test
}
fine_tune classifier ernie-labels
fine_tune scratch-classifier ernie-labels --train.init=
fine_tune entities ernie-entities
fine_tune scratch-entities ernie-entities --train.init=

heading "What it says"
"$trireme" predict --checkpoint.directory=$run/classifier --top=3 \
  "选择要插入幻灯片的对象。" "返回单元格区域中数字的平均值。" "在文档末尾插入脚注。"
"$trireme" predict --checkpoint.directory=$run/entities "李白和杜甫都到过长安。" "毛泽东在北京。"

heading "What it learned"
python3 jobs/ernie_table.py $run $data
