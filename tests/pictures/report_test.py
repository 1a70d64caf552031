#!/usr/bin/env python3
"""report_test.py TRIREME [SCREENSHOT.png]: two runs that differ, one stopped and gone on with on another layout, on a page
of `trireme report`, which headless Chromium draws without a network. Status 77: skipped, and why."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def fail(text):
    sys.exit(f"FAILED: {text}")


def train(trireme, folder, name, ranks, steps, *more):
    run = folder / name
    keys = f"--data.train={folder}/train.h5 --data.validation={folder}/validation.h5 --model.layers=2 --model.hidden=32"
    keys += f" --model.heads=2 --model.context=16 --train.steps={steps} --train.global_batch=8 --train.micro_batch=1"
    keys += " --train.device=cpu --train.validate_every=20 --train.validation_batches=2 --log.progress=none"
    keys += f" --checkpoint.directory={run}/checkpoints --checkpoint.every=15 --monitor.peak_flops=1e11"
    keys += f" --log.metrics={run}/metrics.jsonl --log.events={run}/events.jsonl"
    command = [ROOT / "tests/support/mpirun.sh", str(ranks), trireme, "train", *keys.split(), *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        fail(done.stderr)


def chromium(program, page, folder, *more):
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/browser", *more]
    shown = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=90)
    return shown.stdout


def main():
    trireme = Path(sys.argv[1]).resolve()
    program = shutil.which("chromium")
    if not program:
        print("SKIPPED: found no chromium; apt-get install chromium")
        sys.exit(77)
    os.environ |= {"OMP_NUM_THREADS": "1", "HOME": os.environ.get("HOME", "/tmp")}
    with tempfile.TemporaryDirectory(prefix="trireme-report-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "text.txt").write_text("".join(chr(97 + i * i % 23) for i in range(20000)))
        pack = [trireme, "pack", "text", f"--input={folder}/text.txt", f"--output={folder}/train.h5"]
        split = [f"--validation-output={folder}/validation.h5", "--validation-share=0.1"]
        subprocess.run([*pack, *split, "--tokenizer=characters"], check=True, capture_output=True)
        train(trireme, folder, "a", 2, 40)
        train(trireme, folder, "a", 2, 80, "--parallel.pipeline=2")
        train(trireme, folder, "b<i>", 1, 80, "--optimizer.learning_rate=0.01", "--optimizer.warmup_steps=10")
        page = folder / "report.html"
        report = [trireme, "report", f"{folder}/a", f"{folder}/b<i>", f"--output={page}"]
        done = subprocess.run(report, capture_output=True, text=True)
        if done.returncode:
            fail(done.stderr)
        text = page.read_text()
        # The one address is the name of SVG's elements; the page's own policy forbids all loading.
        if set(re.findall(r"https?://[^\"' ]+", text)) != {"http://www.w3.org/2000/svg"} or "default-src 'none'" not in text:
            fail("the page is not self-contained")
        drawn = chromium(program, page, folder, "--dump-dom")
        for key in ("loss", "validation_loss", "grad_norm", "learning_rate", "tokens_per_second", "flop_utilization",
                    "step_seconds", "data_wait_share", "checkpoint_stall_seconds"):  # fmt: skip
            figure = re.search(rf'<figure data-key="{key}">.*?</figure>', drawn, re.S)
            if not figure or figure[0].count("<polyline") != 2:
                fail(f"{key} is not drawn for both runs:\n{figure and figure[0]}")
            points = [len(line.split()) for line in re.findall(r'points="([^"]*)"', figure[0])]
            if key == "loss" and points != [80, 80]:
                fail(f"the losses have {points} points")
            if 'class="restart"' not in figure[0]:
                fail(f"{key} does not mark the restart")
        for words in (
            "restarted</td><td>2 ranks, data 1 x tensor 1 x pipeline 2, cpu; the layout was data 2 x tensor 1 x pipeline 1",
            "optimizer.learning_rate</td>",
            "parallel.pipeline</td><td>2</td><td>1</td>",
            "b&lt;i&gt;, 80 steps",
        ):
            if words not in drawn:
                fail(f"the page does not show '{words}'")
        image = folder / "page.png"
        chromium(program, page, folder, "--window-size=1240,1900", f"--screenshot={image}")
        if not image.exists() or image.stat().st_size < 20000:
            fail("no screenshot, or an empty one")
        if len(sys.argv) > 2:
            shutil.copy(image, sys.argv[2])
    print("passed")


main()
