#!/usr/bin/env python3
"""ernie_table.py RUN DATA: what jobs/ernie.sh shows. Masked accuracy by level over the pre-training; the accuracy of
the fine-tuned classifier on the test beside the same model without pre-training, logistic regression on a bag of
characters and pairs of characters, and the commonest label; and entities found, beside those that the training part
names. Needs nothing but Python."""
import collections
import json
import math
import random
import re
import sys


def lines_with(path, key):
    with open(path, encoding="utf-8") as file:
        return [line for line in map(json.loads, file) if key in line]


def read(path):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t", 1) for line in file]


def features(text):
    """Characters and pairs of neighbours, each once."""
    return set(text) | {text[i : i + 2] for i in range(len(text) - 1)}


class BagOfWords:
    """Multinomial logistic regression, by stochastic gradient descent with weight decay. Of eight settings the best on
    the development part."""

    def __init__(self, train, passes=10, rate=1.0, decay=1e-4):
        self.labels = sorted({label for label, _ in train})
        self.weights = collections.defaultdict(lambda: [0.0] * len(self.labels))
        samples = [(self.labels.index(label), self.scaled(text)) for label, text in train]
        shuffle = random.Random(1)
        for number in range(passes):
            shuffle.shuffle(samples)
            step = rate / (1 + number / 5)
            for label, (names, value) in samples:
                scores = self.scores(names, value)
                most = max(scores)
                powers = [math.exp(score - most) for score in scores]
                total = sum(powers)
                for name in names:
                    row = self.weights[name]
                    for i, power in enumerate(powers):
                        row[i] -= step * (value * (power / total - (i == label)) + decay * row[i])

    @staticmethod
    def scaled(text):
        names = features(text)
        return names, 1 / math.sqrt(len(names))

    def scores(self, names, value):
        scores = [0.0] * len(self.labels)
        for name in names:
            if name in self.weights:
                for i, weight in enumerate(self.weights[name]):
                    scores[i] += value * weight
        return scores

    def __call__(self, text):
        scores = self.scores(*self.scaled(text))
        return self.labels[scores.index(max(scores))]


def accuracy(classify, test):
    return sum(classify(text) == label for label, text in test) / len(test)


def sentences_of(path):
    """Pairs of the tokens and their labels."""
    with open(path, encoding="utf-8") as file:
        for block in file.read().strip().split("\n\n"):
            yield tuple(zip(*(line.split("\t") for line in block.split("\n"))))


def entities_of(labels):
    """Where entities are: first token, end and kind."""
    starts = [at for at, label in enumerate(labels) if label.startswith("B-")]
    for first in starts:
        end = first + 1
        while end < len(labels) and labels[end].startswith("I-"):
            end += 1
        yield first, end, labels[first][2:]


class ListOfEntities:
    """Finds what the training part names, the longest first, as what it names most often."""

    def __init__(self, train):
        kinds = collections.defaultdict(collections.Counter)
        for tokens, labels in train:
            for first, end, kind in entities_of(labels):
                kinds[tokens[first:end]][kind] += 1
        self.kinds = {entity: counts.most_common(1)[0][0] for entity, counts in kinds.items()}
        self.longest = max(map(len, self.kinds))

    def __call__(self, tokens):
        at = 0
        while at < len(tokens):
            ends = range(min(len(tokens), at + self.longest), at, -1)
            end = next((end for end in ends if tokens[at:end] in self.kinds), None)
            if end:
                yield at, end, self.kinds[tokens[at:end]]
            at = end or at + 1


def span_scores(find, test):
    hits = found = wanted = 0
    for tokens, labels in test:
        ours, theirs = set(find(tokens)), set(entities_of(labels))
        hits, found, wanted = hits + len(ours & theirs), found + len(ours), wanted + len(theirs)
    return hits / found, hits / wanted, 2 * hits / (found + wanted)


def evaluated(path, *names):
    """What `trireme eval` printed, as shares of one."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return [float(re.search(rf"\b{name} ([0-9.]+)%", text).group(1)) / 100 for name in names]


def show_pretraining(run):
    shown = lines_with(f"{run}/metrics.jsonl", "validation_loss")
    columns = [name for name in ("character", "word", "entity", "order") if f"validation_{name}_accuracy" in shown[0]]
    print("Masked tokens of held-out text that are guessed, by what was masked:")
    print(f"  {'step':>6} {'loss':>8} " + " ".join(f"{name:>10}" for name in columns))
    for line in shown:
        shares = " ".join(f"{100 * line[f'validation_{name}_accuracy']:>9.2f}%" for name in columns)
        print(f"  {line['step']:>6} {line['validation_loss']:>8.4f} {shares}")


def show_classifier(run, data):
    train, test = read(f"{data}/labels-few.tsv"), read(f"{data}/labels-test.tsv")
    commonest = collections.Counter(label for label, _ in train).most_common(1)[0][0]
    print(f"\nWhich part of the manual a paragraph is from ({len(train)} labels to learn from, {len(test)} held out):")
    for name, share in [
        (f"the commonest label ({commonest})", accuracy(lambda text: commonest, test)),
        ("logistic regression on a bag of words", accuracy(BagOfWords(train), test)),
        ("this ERNIE without pre-training", *evaluated(f"{run}/scratch-classifier.test", "accuracy")),
        ("this ERNIE, pre-trained", *evaluated(f"{run}/classifier.test", "accuracy")),
    ]:
        print(f"  {name:<42} {100 * share:6.2f}%")


def show_entities(run, data):
    train, test = (list(sentences_of(f"{data}/entities-{part}.conll")) for part in ("train", "test"))
    count = sum(len(list(entities_of(labels))) for _, labels in test)
    print(f"\nPersons, places and organisations, by jieba's dictionary ({count} in {len(test)} held-out sentences):")
    print(f"  {'':<42} {'precision':>9} {'recall':>9} {'F1':>9}")
    names = ("span_precision", "span_recall", "span_f1")
    for name, scores in [
        ("those that the training part names", span_scores(ListOfEntities(train), test)),
        ("this ERNIE without pre-training", evaluated(f"{run}/scratch-entities.test", *names)),
        ("this ERNIE, pre-trained", evaluated(f"{run}/entities.test", *names)),
    ]:
        print(f"  {name:<42} " + " ".join(f"{100 * score:8.2f}%" for score in scores))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    show_pretraining(sys.argv[1])
    show_classifier(*sys.argv[1:])
    show_entities(*sys.argv[1:])
