#!/usr/bin/env python3
"""Character error of a line recogniser of ours beside Tesseract chi_sim and PP-OCRv4 on the same lines, in one run.

ocr_peers.py TRIREME CHECKPOINTS VALIDATION.h5 [LINES]

Takes the first LINES (300) lines of a data set that 'trireme pack ocr' made, writes them as PNG and has each recogniser
read them. Peers that are not installed are named and left out: tesseract (Debian tesseract-ocr, tesseract-ocr-chi-sim)
and PP-OCRv4 (PyPI rapidocr-onnxruntime). Errors are edit distances over characters, of all lines together; white space
does not count, and full and half width letters are the same (NFKC), for everyone. Needs h5py, numpy and Pillow.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata

import h5py
import numpy
from PIL import Image


def normal(text):
    return "".join(unicodedata.normalize("NFKC", text).split())


def distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(diagonal + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def read_lines(path, count):
    with h5py.File(path) as data:
        height = int(data.attrs["height"])
        keys = bytes(data["tokenizer/model"][:]).decode()
        ends, label_ends = data["ends"][: count + 1], data["label_ends"][: count + 1]
        for i in range(len(ends) - 1):
            labels = data["labels"][label_ends[i] : label_ends[i + 1]]
            yield data["pixels"][ends[i] : ends[i + 1]].reshape(height, -1), "".join(keys[c - 1] for c in labels)


def read_with_trireme(trireme, checkpoints, files, *more):
    command = [trireme, "recognize", "--checkpoint.directory=" + checkpoints, "--recognize.json", *more, *files]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line)["text"] for line in out.splitlines()]


def read_with_tesseract(files):
    texts = []
    for file in files:
        command = ["tesseract", file, "-", "-l", "chi_sim", "--psm", "7"]
        texts.append(subprocess.run(command, capture_output=True, text=True).stdout.strip())
    return texts


def read_with_rapidocr(files):
    from rapidocr_onnxruntime import RapidOCR

    engine = RapidOCR()
    texts = []
    for file in files:
        result, _ = engine(file, use_det=False, use_cls=False, use_rec=True)
        texts.append("".join(entry[0] for entry in result or []))
    return texts


def has_tesseract():
    if not shutil.which("tesseract"):
        return False
    return "chi_sim" in subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True).stdout


def has_rapidocr():
    try:
        import rapidocr_onnxruntime  # noqa: F401
    except ImportError:
        return False
    return True


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    trireme, checkpoints, data = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) == 5 else 300
    os.environ.setdefault("OMP_THREAD_LIMIT", "2")
    with tempfile.TemporaryDirectory() as folder:
        texts, files, larger = [], [], []
        for number, (pixels, text) in enumerate(read_lines(data, count)):
            image = Image.fromarray(numpy.asarray(pixels))
            texts.append(text)
            files.append(os.path.join(folder, f"{number:05}.png"))
            image.save(files[-1])
            larger.append(os.path.join(folder, f"{number:05}-larger.png"))
            image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC).save(larger[-1])
        readers = [
            ("trireme, greedy", True, lambda: read_with_trireme(trireme, checkpoints, files)),
            ("trireme, beam of 8", True, lambda: read_with_trireme(trireme, checkpoints, files, "--recognize.beam=8")),
            ("tesseract chi_sim", has_tesseract(), lambda: read_with_tesseract(files)),
            ("tesseract chi_sim, enlarged twice", has_tesseract(), lambda: read_with_tesseract(larger)),
            ("PP-OCRv4 (rapidocr-onnxruntime)", has_rapidocr(), lambda: read_with_rapidocr(files)),
        ]
        characters = sum(len(normal(text)) for text in texts)
        print(f"{len(texts)} lines, {characters} characters of {data}")
        for name, there, read in readers:
            if not there:
                print(f"  {name:<36} not installed, left out")
                continue
            start = time.time()
            found = read()
            seconds = time.time() - start
            if len(found) != len(texts):
                sys.exit(f"{name} read {len(found)} of {len(texts)} lines")
            errors = sum(distance(normal(a), normal(b)) for a, b in zip(found, texts))
            exact = sum(normal(a) == normal(b) for a, b in zip(found, texts))
            print(
                f"  {name:<36} character error {100 * errors / characters:6.2f}%   exact lines "
                f"{100 * exact / len(texts):6.2f}%   {seconds:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
