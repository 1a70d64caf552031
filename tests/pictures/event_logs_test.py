#!/usr/bin/env python3
"""event_logs_test.py TRIREME: a run of 2 stages, stopped and gone on with, writes for TensorBoard and VisualDL; their own
Python packages must read what its metrics say, histograms of every parameter, and texts that it wrote; of another run
pictures of lines of text, and what was read. TRIREME_PYTHON names a Python that has the packages tensorboard and
visualdl. Status 77: it has not, and which.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("TRIREME_PYTHON", sys.executable)
HISTOGRAMS_EVERY = 4

if sys.executable != PYTHON and "TRIREME_PICTURES_INNER" not in os.environ:
    os.environ["TRIREME_PICTURES_INNER"] = "yes"
    os.execv(PYTHON, [PYTHON, *sys.argv])


def fail(text):
    sys.exit(f"FAILED: {text}")


def packages():
    missing = []
    for package in ("tensorboard", "visualdl"):
        try:
            __import__(package)
        except ImportError:
            missing.append(package)
    if missing:
        print(f"SKIPPED: {PYTHON} has no {' and no '.join(missing)}; TRIREME_PYTHON may name one that has")
        sys.exit(77)


def run(trireme, ranks, options):
    keys = [f"--{key}={value}" for key, value in options.items()]
    done = subprocess.run([ROOT / "tests/support/mpirun.sh", ranks, trireme, "train", *keys], capture_output=True, text=True)
    if done.returncode:
        fail(done.stderr)


def train(trireme, folder, steps, **more):
    options = {
        "data.train": folder / "train.h5",
        "data.validation": folder / "validation.h5",
        "model.layers": 2,
        "model.hidden": 16,
        "model.heads": 2,
        "model.context": 16,
        "train.steps": steps,
        "train.global_batch": 4,
        "train.micro_batch": 1,
        "train.device": "cpu",
        "train.validate_every": 5,
        "train.validation_batches": 1,
        "parallel.pipeline": 2,
        "checkpoint.directory": folder / "checkpoints",
        "log.metrics": folder / "metrics.jsonl",
        "log.tensorboard": folder / "tensorboard",
        "log.visualdl": folder / "visualdl",
        "log.histograms_every": HISTOGRAMS_EVERY,
        "log.progress": "none",
    } | more
    run(trireme, "2", options)


def png(pixels):
    """Grey pixels as rows of bytes, in a file's bytes."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(row) for row in pixels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def train_on_lines(trireme, folder):
    """Lines of the letters a to d, each as a bar at its height."""
    names = []
    for number in range(40):
        text = "".join("abcd"[(number * 7 + 3 * i * i) % 4] for i in range(2 + number % 4))
        pixels = [[20 if (y // 8) == "abcd".index(c) else 230 for c in text for _ in range(12)] for y in range(32)]
        (folder / f"{number}.png").write_bytes(png(pixels))
        names.append(f"{number}.png\t{text}\n")
    (folder / "list.txt").write_text("".join(names))
    pack = [trireme, "pack", "ocr", "--from=images", f"--input={folder}/list.txt", f"--output={folder}/lines.h5"]
    split = [f"--validation-output={folder}/lines-validation.h5", "--validation-share=0.2"]
    subprocess.run([*pack, *split], check=True, capture_output=True)
    options = {
        "data.train": folder / "lines.h5",
        "data.validation": folder / "lines-validation.h5",
        "model.arch": "crnn",
        "model.channels": 4,
        "model.layers": 1,
        "model.hidden": 12,
        "train.steps": 3,
        "train.global_batch": 4,
        "train.micro_batch": 2,
        "train.device": "cpu",
        "log.tensorboard": folder / "tensorboard-lines",
        "log.visualdl": folder / "visualdl-lines",
        "log.progress": "none",
    }
    run(trireme, "1", options)


def expect_scalars(what, found, lines):
    """`found`: {tag: {step: value}}."""
    names = {"train/loss": "loss", "train/gradient_norm": "grad_norm", "train/learning_rate": "learning_rate"}
    for tag, key in names.items():
        wanted = {line["step"]: line[key] for line in lines}
        if found.get(tag, {}).keys() != wanted.keys():
            fail(f"{what}: steps of {tag} are {sorted(found.get(tag, {}))}")
        for step, value in wanted.items():
            if abs(found[tag][step] - value) > 1e-6 * abs(value):
                fail(f"{what}: {tag} of step {step} is {found[tag][step]}, the metrics say {value}")
    validation = {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}
    if found.get("validation/loss", {}).keys() != validation.keys() or not validation:
        fail(f"{what}: validations are {found.get('validation/loss')}, the metrics say {validation}")


def expect_parameters(what, tags):
    blocks = ["embedding.token.weight", "blocks.0.", "blocks.1."]
    for kind in ("weights", "gradients"):
        for block in blocks:
            if not any(tag.startswith(f"{kind}/{block}") for tag in tags):
                fail(f"{what}: no histogram of {kind}/{block}, only of {sorted(tags)}")


def check_tensorboard(folder, lines):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags = {}
    for run in (folder, folder / "stage-1"):
        events = EventAccumulator(str(run), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
        events.Reload()
        scalars = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
        if run == folder:
            expect_scalars("TensorBoard", scalars, lines)
        elif scalars:
            fail("a rank other than the first tells scalars")
        for tag in events.Tags()["histograms"]:
            tags[tag] = [event.step for event in events.Histograms(tag)]
            value = events.Histograms(tag)[-1].histogram_value
            if value.num < 1 or abs(sum(value.bucket) - value.num) > 1e-6 or not value.min <= value.bucket_limit[-1]:
                fail(f"TensorBoard: {tag} is no histogram: {value}")
    expect_parameters("TensorBoard", tags)
    wanted = [step for step in range(1, len(lines) + 1) if step % HISTOGRAMS_EVERY == 0]
    for tag, steps in tags.items():
        if steps != wanted:
            fail(f"TensorBoard: {tag} is of steps {steps}, expected {wanted}")


def check_samples(what, texts, pictures, words, steps):
    """Texts and pictures are {tag: {step: words or bytes}}, of four samples."""
    wanted = [f"samples/{number}" for number in range(4)]
    if sorted(texts) != wanted or any(sorted(found) != steps for found in texts.values()):
        fail(f"{what}: the texts are {texts}")
    for tag, found in texts.items():
        if not all(word in text for word in words for text in found.values()):
            fail(f"{what}: {tag} is {found}")
    for tag, found in pictures.items():
        if any(not image.startswith(b"\x89PNG") for image in found.values()) or sorted(found) != steps:
            fail(f"{what}: {tag} is no picture of steps {steps}")


def check_tensorboard_samples(folder, words, steps, pictures):
    # What its pages show; the older reader above does not forget texts that a run has gone back behind.
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    told = {"text": {}, "images": {}}
    for tag in events.Tags()["tensors"]:
        plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
        if plugin in told:
            told[plugin][tag] = {e.step: list(e.tensor_proto.string_val) for e in events.Tensors(tag)}
    texts = {tag: {step: value[0].decode() for step, value in found.items()} for tag, found in told["text"].items()}
    images = {tag: {step: value[2] for step, value in found.items()} for tag, found in told["images"].items()}
    if len(images) != pictures or any(value[1] != b"32" for found in told["images"].values() for value in found.values()):
        fail(f"TensorBoard: pictures are {sorted(images)}")
    check_samples("TensorBoard", texts, images, words, steps)


def check_visualdl_samples(folder, words, steps, pictures):
    from visualdl import LogReader

    (file,) = folder.glob("vdlrecords.*")
    reader = LogReader(file_path=str(file))
    names = reader.get_tags()
    texts = {tag: {e.id: e.text.encoded_text_string for e in reader.get_data("text", tag)} for tag in names["text"]}
    images = {
        tag: {e.id: e.image.encoded_image_string for e in reader.get_data("image", tag)} for tag in names.get("image", [])
    }
    if len(images) != pictures:
        fail(f"VisualDL: pictures are {sorted(images)}")
    check_samples("VisualDL", texts, images, words, steps)


def check_visualdl(folder, lines):
    from visualdl import LogReader

    scalars, tags = {}, set()
    for run in (folder, folder / "stage-1"):
        for file in run.glob("vdlrecords.*"):
            reader = LogReader(file_path=str(file))
            names = reader.get_tags()
            for tag in names.get("scalar", []):
                values = reader.get_data("scalar", tag)
                scalars[tag] = {value.id: value.value for value in values}
                if len(values) != len(scalars[tag]):
                    fail(f"VisualDL: {tag} tells a step twice: {[value.id for value in values]}")
            for tag in names.get("histogram", []):
                tags.add(tag)
                value = reader.get_data("histogram", tag)[-1].histogram
                if len(value.bin_edges) != len(value.hist) + 1 or sum(value.hist) < 1:
                    fail(f"VisualDL: {tag} is no histogram: {value}")
    expect_scalars("VisualDL", scalars, lines)
    expect_parameters("VisualDL", tags)


def main():
    packages()
    trireme = Path(sys.argv[1]).resolve()
    os.environ |= {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="trireme-pictures-") as name:
        folder = Path(name)
        (folder / "text.txt").write_text("".join(chr(97 + i * i % 23) for i in range(20000)))
        pack = [trireme, "pack", "text", f"--input={folder}/text.txt", f"--output={folder}/train.h5"]
        split = [f"--validation-output={folder}/validation.h5", "--validation-share=0.1"]
        subprocess.run([*pack, *split, "--tokenizer=characters"], check=True, capture_output=True)
        train(trireme, folder, 10)
        train(trireme, folder, 12)
        # Back to step 10: what the files say of steps 11 and 12 does not count any more.
        train(trireme, folder, 16, **{"checkpoint.resume": 10, "optimizer.learning_rate": 1e-3})
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        if [line["step"] for line in lines] != list(range(1, 17)):
            fail(f"the metrics tell of steps {[line['step'] for line in lines]}")
        check_tensorboard(folder / "tensorboard", lines)
        check_visualdl(folder / "visualdl", lines)
        validations = [line["step"] for line in lines if "validation_loss" in line]
        check_tensorboard_samples(folder / "tensorboard", ["given:", "written:"], validations, 0)
        check_visualdl_samples(folder / "visualdl", ["given:", "written:"], validations, 0)
        train_on_lines(trireme, folder)
        check_tensorboard_samples(folder / "tensorboard-lines", ["label:", "read as:"], [3], 4)
        check_visualdl_samples(folder / "visualdl-lines", ["label:", "read as:"], [3], 4)
    print(f"passed: {len(lines)} steps in both")


main()
