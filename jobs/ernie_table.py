#!/usr/bin/env python3
"""ernie_table.py RUN TRAIN.tsv TEST.tsv: what jobs/ernie.sh shows. Masked accuracy by level over the pre-training, and the
accuracy of the fine-tuned classifier beside the same model without pre-training, logistic regression on a bag of
characters and pairs of characters, and the commonest label. Needs nothing but Python."""
import collections
import json
import math
import random
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
    """Multinomial logistic regression, by stochastic gradient descent with weight decay, averaged over the last half."""

    def __init__(self, train, passes=30, rate=0.3, decay=1e-5):
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


def main(run, train_file, test_file):
    shown = lines_with(f"{run}/metrics.jsonl", "validation_loss")
    columns = [name for name in ("character", "word", "entity", "order") if f"validation_{name}_accuracy" in shown[0]]
    print("Masked tokens of held-out text that are guessed, by what was masked:")
    print(f"  {'step':>6} {'loss':>8} " + " ".join(f"{name:>10}" for name in columns))
    for line in shown:
        shares = " ".join(f"{100 * line[f'validation_{name}_accuracy']:>9.2f}%" for name in columns)
        print(f"  {line['step']:>6} {line['validation_loss']:>8.4f} {shares}")

    train, test = read(train_file), read(test_file)
    commonest = collections.Counter(label for label, _ in train).most_common(1)[0][0]
    last = lambda name: lines_with(f"{run}/{name}.jsonl", "validation_accuracy")[-1]["validation_accuracy"]
    print(f"\nWhich part of the manual a paragraph is from ({len(train)} labels to learn from, {len(test)} held out):")
    for name, share in [
        (f"the commonest label ({commonest})", accuracy(lambda text: commonest, test)),
        ("logistic regression on a bag of words", accuracy(BagOfWords(train), test)),
        ("this ERNIE without pre-training", last("scratch")),
        ("this ERNIE, pre-trained", last("classifier")),
    ]:
        print(f"  {name:<42} {100 * share:6.2f}%")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
