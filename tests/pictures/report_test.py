#!/usr/bin/env python3
"""report_test.py TRIREME [SCREENSHOT.png]: two runs that differ, one stopped and gone on with on another layout, and alerts
of both, on a page of `trireme report`, which headless Chromium draws without a network. Status 77: skipped, and why."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
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


def rfc3339(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


def write_alerts(folder):
    """As Alertmanager's webhook would have told of a rank that held up the second half of run a."""
    events = [json.loads(line) for line in (folder / "a/events.jsonl").read_text().splitlines()]
    begun, ended = events[2]["time"], events[3]["time"]
    alert = {
        "status": "resolved",
        "labels": {"alertname": "TriremeStraggler", "severity": "warning"},
        "annotations": {"summary": "Rank 1 holds up <the run>"},
        "startsAt": rfc3339(begun + 0.001),
        "endsAt": rfc3339(ended - 0.001),
    }
    (folder / "alerts.jsonl").write_text(json.dumps({"version": "4", "alerts": [alert]}) + "\n")
    with open(folder / "b<i>/events.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"event": "alert", "what": "NOT SAVED   step 60: no space left", "step": 60}) + "\n")


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
        write_alerts(folder)
        page = folder / "report.html"
        report = [trireme, "report", f"{folder}/a", f"{folder}/b<i>", f"--output={page}", f"--alerts={folder}/alerts.jsonl"]
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
            if figure[0].count('class="alert"') != 2 or figure[0].count('class="alert-span"') != 1:
                fail(f"{key} does not mark the alerts:\n{figure[0]}")
        for words in (
            "restarted</td><td>2 ranks, data 1 x tensor 1 x pipeline 2, cpu; the layout was data 2 x tensor 1 x pipeline 1",
            "optimizer.learning_rate</td>",
            "parallel.pipeline</td><td>2</td><td>1</td>",
            "b&lt;i&gt;, 80 steps",
            "alert</td><td>TriremeStraggler: Rank 1 holds up &lt;the run&gt;; until ",
            "<td>60</td><td></td><td>alert</td><td>NOT SAVED   step 60: no space left</td>",
        ):
            if words not in drawn:
                fail(f"the page does not show '{words}'")
        image = folder / "page.png"
        chromium(program, page, folder, "--window-size=1240,1900", f"--screenshot={image}")
        if not image.exists() or image.stat().st_size < 20000:
            fail("no screenshot, or an empty one")
        # A first step that is far above the others does not press them flat.
        steep = [{"step": i, "loss": 900 if i == 1 else 3 + 3 / i, "step_seconds": 1} for i in range(1, 101)]
        (folder / "steep.jsonl").write_text("".join(json.dumps(line) + "\n" for line in steep))
        subprocess.run([trireme, "report", f"{folder}/steep.jsonl", f"--output={page}"], check=True, capture_output=True)
        figure = re.search(r'<figure data-key="loss">.*?</figure>', chromium(program, page, folder, "--dump-dom"), re.S)[0]
        heights = [float(point.split(",")[1]) for point in re.search(r'points="([^"]*)"', figure)[1].split()]
        if ">up to 900<" not in figure or max(heights[:50]) - min(heights[:50]) < 100:
            fail(f"a first step hides the others:\n{figure}")
        if len(sys.argv) > 2:
            shutil.copy(image, sys.argv[2])
    print("passed")


main()
