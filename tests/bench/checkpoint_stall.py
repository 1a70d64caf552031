#!/usr/bin/env python3
"""checkpoint_stall.py: what checkpoints cost a training run of GPT-2 on 2 ranks of one thread each, and how long a
restart takes, ours beside PyTorch's distributed checkpoint, measured in turns on the same disk.

  SIZE=124M MICRO_BATCH=2 CONTEXT=256   the model (or 3M), samples of a rank in a step, tokens of a sample
  REPETITIONS=3 SAVES=3 EVERY=8         how often each program runs; its saves, and the steps from one to the next
  PEERS="thread process"                what writes for PyTorch's async_save, see checkpoint_pytorch.py
  BUILD=build                           where `ninja trireme` left the program
  OUT=BUILD/bench/checkpoint            its disk is measured, with up to SAVES + 3 checkpoints of 12 bytes a parameter;
                                        gets runs.jsonl and table.txt
  TRIREME_BENCH_PYTHON=python3          a Python with torch; without one only ours is measured

The stall of a save is how long training stood still for it. Its slowdown is by how much longer the steps took, all
together, during which it was written: the writer needs a share of the cores. Restarts are timed from the command to the
first step done, with files out of the page cache. What ours loads has its checksums tested; PyTorch's has none.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("BUILD", HERE.parent.parent / "build")).resolve()
OUT = Path(os.environ.get("OUT", BUILD / "bench/checkpoint")).resolve()
PYTHON = os.environ.get("TRIREME_BENCH_PYTHON", "python3")
SIZE = os.environ.get("SIZE", "124M")
SIZES = {"3M": (2, 64, 2), "124M": (12, 768, 12)}
LAYERS, HIDDEN, HEADS = SIZES.get(SIZE, (0, 0, 0))
VOCABULARY = 50304
MICRO_BATCH, CONTEXT = int(os.environ.get("MICRO_BATCH", 2)), int(os.environ.get("CONTEXT", 256))
REPETITIONS, SAVES = int(os.environ.get("REPETITIONS", 3)), int(os.environ.get("SAVES", 3))
EVERY, WARM_UP = int(os.environ.get("EVERY", 8)), 2
STEPS = (SAVES + 1) * EVERY
LAYOUTS = {"2x1x1": (2, 1, 1), "1x2x1": (1, 2, 1), "1x1x2": (1, 1, 2)}


def run(command, last_line=None):
    """(seconds since the start, line) of all that a command says; it is ended after a line that begins as wanted."""
    environment = {"OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    said, start = [], time.monotonic()
    with subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
    ) as process:
        for line in process.stdout:
            said.append((time.monotonic() - start, line.rstrip()))
            if last_line and re.match(last_line, line):
                process.terminate()
                return said
    if process.returncode != 0 or last_line:
        sys.exit(f"checkpoint_stall.py: status {process.returncode}:\n" + "\n".join(line for _, line in said[-20:]))
    return said


def pack():
    """A data set with the wanted vocabulary: a text of as many different characters."""
    blocks = [(0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x20000, 0x2A6DF)]
    text = "".join(chr(point) for first, last in blocks for point in range(first, last + 1))[: VOCABULARY - 2]
    (OUT / "text.txt").write_text(text, encoding="utf-8")
    files = [f"--input={OUT}/text.txt", f"--output={OUT}/train.h5"]
    run([BUILD / "trireme", "pack", "text", *files, "--tokenizer=characters", f"--vocabulary={VOCABULARY}"])


def ours(layout, **options):
    data, tensor, pipeline = LAYOUTS[layout]
    model = f"--model.layers={LAYERS} --model.hidden={HIDDEN} --model.heads={HEADS} --model.context={CONTEXT}"
    batch = f"--train.global_batch={2 * MICRO_BATCH} --train.micro_batch={MICRO_BATCH} --train.device=cpu"
    axes = f"--parallel.data={data} --parallel.tensor={tensor} --parallel.pipeline={pipeline}"
    log = "--log.progress=plain --log.every=1"
    return [
        *["mpirun", "-n", 2, "--bind-to", "none", BUILD / "trireme", "train"],
        *f"{model} {batch} {axes} {log}".split(),
        *[f"--data.train={OUT}/train.h5", f"--checkpoint.directory={OUT}/ours"],
        *(f"--{key.replace('_', '.', 1)}={value}" for key, value in options.items()),
    ]


def theirs(*options):
    model = ["--size", SIZE, "--micro-batch", MICRO_BATCH, "--context", CONTEXT]
    torchrun = [PYTHON, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    return [*torchrun, HERE / "checkpoint_pytorch.py", *model, *options]


def our_saves():
    """Events like those that checkpoint_pytorch.py prints."""
    shutil.rmtree(OUT / "ours", ignore_errors=True)
    metrics = OUT / "metrics.jsonl"
    metrics.unlink(missing_ok=True)
    said = run(ours("2x1x1", train_steps=STEPS, checkpoint_every=EVERY, checkpoint_keep=1, log_metrics=metrics))
    steps = {step["step"]: step for step in map(json.loads, metrics.read_text().splitlines())}
    for _, line in said:
        if found := re.match(r"step (\d+)/", line):
            step = steps[int(found[1])]
            yield {"event": "step", **step, "stall_seconds": step["checkpoint_stall_seconds"]}
        elif found := re.match(r"saved .*/step-(\d+) in ([0-9.]+) s", line):
            yield {"event": "saved", "step": int(found[1]), "seconds": float(found[2])}


def their_saves(peer):
    shutil.rmtree(OUT / "peer", ignore_errors=True)
    said = run(theirs("--folder", OUT / "peer", "--steps", STEPS, "--every", EVERY, "--checkpointer", peer))
    return events_in(said)


def events_in(said):
    # Two processes may write into one line.
    return [{"at": at, **json.loads(event)} for at, line in said for event in re.findall(r'\{"event"[^{}]*\}', line)]


def cost(events):
    """Medians over the saves that had training go on after them."""
    steps, saves, busy, slowdowns, stalls = {}, {}, {}, [], []
    for event in events:
        if event["event"] == "step":
            steps[event["step"]] = event
        elif event["step"] < STEPS:
            saves[event["step"]] = event["seconds"]
            busy[event["step"]] = range(event["step"] + 1, min(max(steps) + 1, STEPS) + 1)
    during = {step for each in busy.values() for step in each}
    quiet = [event["step_seconds"] for step, event in steps.items() if step > WARM_UP and step not in during]
    usual = statistics.median(quiet)
    for step in saves:
        slowdowns.append(sum(steps[each]["step_seconds"] - usual for each in busy[step]))
        stalls.append([steps[each]["stall_seconds"] for each in range(step + 1, step + EVERY + 1)])
    return {
        "step": usual,
        "stall": statistics.median(map(sum, stalls)),
        "at_begin": statistics.median(stall[0] for stall in stalls),
        "slowdown": statistics.median(slowdowns),
        "write": statistics.median(saves.values()),
    }


def uncache(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file)
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def our_restart(layout):
    uncache(OUT / "ours")
    said = run(ours(layout, train_steps=STEPS + 100, checkpoint_keep=0), "step ")
    at, line = next((at, line) for at, line in said if line.startswith("resumed "))
    load = float(re.search(r" in ([0-9.]+) s$", line)[1])
    return {"start": at - load, "load": load, "step": said[-1][0] - at, "total": said[-1][0]}


def their_restart(load):
    uncache(OUT / "peer")
    events = events_in(run(theirs("--folder", OUT / "peer" / f"step-{STEPS}", "--load", load)))
    times = {"start": events[0]["at"] - events[0]["seconds"], "load": events[0]["seconds"]}
    if load == "same":
        times |= {"step": events[1]["step_seconds"], "total": events[1]["at"]}
    return times


def measure(peers):
    """Yields (table, row, row of ours to compare with, numbers)."""
    yield "save", "trireme", "trireme", cost(list(our_saves()))
    for peer in peers:
        yield "save", f"pytorch {peer}", "trireme", cost(their_saves(peer))
    for layout in LAYOUTS:
        yield "restart", f"trireme to {layout}", f"trireme to {layout}", our_restart(layout)
    if peers:
        yield "restart", "pytorch to 2x1x1", "trireme to 2x1x1", their_restart("same")
        yield "restart", "pytorch to shards", "trireme to 1x2x1", their_restart("sharded")


def table(runs, kind, columns):
    """Each row's medians over the repetitions; a column "a / b" is the median ratio of two numbers of one repetition,
    "/ours" of the number before it and ours."""
    rows, compared = {}, {}
    for run_kind, row, with_row, numbers in runs:
        if run_kind == kind:
            rows.setdefault(row, []).append(numbers)
            compared[row] = with_row

    def cell(row, column, before):
        name, _, other = (before + column if column == "/ours" else column).partition("/")
        name, other = name.strip(), other.strip()
        pairs = list(zip(rows[row], rows[compared[row]]))
        if name not in pairs[0][0] or (column == "/ours" and row == compared[row]):
            return "-"
        if column == "/ours":
            return f"{statistics.median(each[name] / ours[name] for each, ours in pairs):.2f}"
        if other:
            return f"{statistics.median(each[name] / each[other] for each, _ in pairs):.1%}"
        return f"{statistics.median(each[name] for each, _ in pairs):.3f}"

    width = lambda column: max(len(column), 7) + 2
    lines = [f"{kind + ', seconds':<18}" + "".join(f"{column:>{width(column)}}" for column in columns)]
    for row in rows:
        cells = [cell(row, column, before) for before, column in zip([""] + columns, columns)]
        lines.append(f"{row:<18}" + "".join(f"{each:>{width(column)}}" for each, column in zip(cells, columns)))
    return "\n".join(lines)


def refuse(reason):
    print(f"checkpoint_stall.py: {reason}", file=sys.stderr)
    sys.exit(2)


def main():
    if SIZE not in SIZES:
        refuse(f"SIZE={SIZE}: expected one of {', '.join(SIZES)}")
    if not (BUILD / "trireme").exists():
        refuse(f"no {BUILD}/trireme; build it with: ninja -C {BUILD} trireme")
    peers = os.environ.get("PEERS", "thread process").split()
    if subprocess.run([PYTHON, "-c", "import torch"], capture_output=True).returncode != 0:
        print(f"checkpoint_stall.py: {PYTHON} has no torch: only ours is measured", file=sys.stderr)
        peers = []
    OUT.mkdir(parents=True, exist_ok=True)
    pack()
    runs = []
    for repetition in range(1, REPETITIONS + 1):
        for kind, row, with_row, numbers in measure(peers):
            print(f"repetition {repetition}: {kind}: {row}: {json.dumps(numbers)}", file=sys.stderr)
            runs.append((kind, row, with_row, numbers))
    (OUT / "runs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in runs))
    for folder in [OUT / "ours", OUT / "peer"]:
        shutil.rmtree(folder, ignore_errors=True)
    of_saves = ["step", "stall", "/ours", "stall / step", "at_begin", "slowdown / step", "write", "/ours"]
    saves = table(runs, "save", of_saves)
    restarts = table(runs, "restart", ["start", "load", "/ours", "step", "total", "/ours"])
    (OUT / "table.txt").write_text(f"{saves}\n\n{restarts}\n")
    print(f"{saves}\n\n{restarts}")


if __name__ == "__main__":
    main()
