#!/usr/bin/env python3
"""monitor_cost.py [endpoint|pictures]: what it costs to be watched. Runs of a tiny model on one rank, whose steps take a
millisecond, in pairs, without and with it:
endpoint: monitor.listen, while it is asked once a second (a Prometheus asks every 15 seconds);
pictures: log.tensorboard with what it has by default, scalars of every step, histograms of every hundredth, and four
samples at each validation, here every 1000 steps.
What is compared is processor time of the whole process, answers and writing thread included, which other programs on the
machine disturb little. Prints each pair's ratio, and their median.

  PAIRS=9 STEPS=6000   how often, and how long
  BUILD=build          where `ninja trireme` left the program
"""

import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BUILD", ROOT / "build")).resolve()
PAIRS, STEPS = int(os.environ.get("PAIRS", 9)), int(os.environ.get("STEPS", 6000))
os.environ |= {"OMP_NUM_THREADS": "1"}


def ask(port, over, count):
    while not over.wait(1):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                answer.read()
        except (OSError, http.client.HTTPException):  # the run has ended
            return
        count.append(1)


def cost(folder, more):
    """Processor milliseconds a step; how often the endpoint answered meanwhile."""
    options = f"--data.train={folder}/train.h5 --model.layers=2 --model.hidden=32 --model.heads=2 --model.context=32"
    options += f" --train.steps={STEPS} --train.global_batch=4 --train.micro_batch=1 --train.device=cpu"
    options += f" --data.validation={folder}/validation.h5 --train.validate_every=1000 --train.validation_batches=50"
    options += f" --log.progress=plain --log.every=100000 {more}"
    over, count = threading.Event(), []
    process = subprocess.Popen([BUILD / "trireme", "train", *options.split()], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if address := re.search(r"http://127\.0\.0\.1:(\d+)/metrics", line):
            threading.Thread(target=ask, args=(address[1], over, count), daemon=True).start()
    _, status, usage = os.wait4(process.pid, 0)
    over.set()
    if status:
        raise RuntimeError("the run failed")
    return 1e3 * (usage.ru_utime + usage.ru_stime) / STEPS, len(count)


def main():
    what = sys.argv[1] if len(sys.argv) > 1 else "endpoint"
    with tempfile.TemporaryDirectory(prefix="trireme-monitor-") as folder:
        option = {"endpoint": "--monitor.listen=0", "pictures": f"--log.tensorboard={folder}/pictures"}[what]
        Path(folder, "text.txt").write_text("".join(chr(97 + i * i % 23) for i in range(20000)))
        pack = [BUILD / "trireme", "pack", "text", f"--input={folder}/text.txt", f"--output={folder}/train.h5"]
        split = [f"--validation-output={folder}/validation.h5", "--validation-share=0.2"]
        subprocess.run([*pack, *split, "--tokenizer=characters"], check=True, capture_output=True)
        ratios = []
        for pair in range(PAIRS):
            found = {more: cost(folder, more) for more in (["", option] if pair % 2 == 0 else [option, ""])}
            without, (with_it, asked) = found[""][0], found[option]
            ratios.append(with_it / without)
            answers = f" asked {asked} times" if what == "endpoint" else ""
            print(f"{without:.4f} ms without, {with_it:.4f} ms with it{answers}: {ratios[-1]:.4f}", flush=True)
        print(f"median {statistics.median(ratios):.4f}, from {min(ratios):.4f} to {max(ratios):.4f}")


main()
