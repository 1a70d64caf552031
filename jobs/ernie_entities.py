#!/usr/bin/env python3
"""ernie_entities.py DICT.txt TEXT... >LABELS: the sentences of texts as lines TOKEN<TAB>LABEL for `trireme pack labels
--of=tokens`, an empty line after each. Persons, places and organisations are the words that jieba's dictionary tags as
such where the likeliest segmentation has them: labels of a dictionary, not of people. Needs nothing but Python."""
import math
import re
import sys

KINDS = {"nr": "person", "ns": "place", "nt": "organisation"}
TOKEN = re.compile(r"[0-9A-Za-z]+|\S")


def read_dictionary(path):
    """Words with the logarithm of their frequency, and what they name."""
    words = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            word, count, tag = line.split()
            words[word] = (math.log(max(1, int(count))), KINDS.get(tag[:2]) if len(word) > 1 else None)
    total = math.log(sum(math.exp(logarithm) for logarithm, _ in words.values()))
    return {word: (logarithm - total, kind) for word, (logarithm, kind) in words.items()}


def likeliest(tokens, words, longest, rare):
    """The segmentation of the greatest probability: pairs of a number of tokens and what they name."""
    best = [(0.0, 0)]  # of the tokens so far: logarithm, tokens of the last word
    for end in range(1, len(tokens) + 1):
        choices = [(best[end - 1][0] + words.get(tokens[end - 1], (rare,))[0], 1)]
        for count in range(2, min(longest, end) + 1):
            word = words.get("".join(tokens[end - count : end]))
            if word:
                choices.append((best[end - count][0] + word[0], count))
        best.append(max(choices))
    parts, end = [], len(tokens)
    while end > 0:
        count = best[end][1]
        parts.append((count, words.get("".join(tokens[end - count : end]), (0, None))[1]))
        end -= count
    return reversed(parts)


def main(dictionary, texts):
    words = read_dictionary(dictionary)
    longest = max(map(len, words))
    rare = min(logarithm for logarithm, _ in words.values())
    for path in texts:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        for sentence in (part for line in lines for part in re.findall(r"[^。！？]+[。！？]?", line)):
            tokens = TOKEN.findall(sentence)
            if not 8 <= len(tokens) <= 62:  # what a sample of 64 tokens holds
                continue
            at = 0
            for count, kind in likeliest(tokens, words, longest, rare):
                for place in range(count):
                    label = "O" if kind is None else f"{'I' if place else 'B'}-{kind}"
                    print(f"{tokens[at + place]}\t{label}")
                at += count
            print()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
