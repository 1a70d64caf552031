#!/usr/bin/env python3
"""gpt2_table.py RUNS.jsonl TABLE.json: the table of gpt2_124m.sh and gpt2_gpu.sh.

A ratio is the median over repetitions of ours / theirs within one repetition, so that slow drifts of the machine
cancel. On a CPU the share of the ceiling is our tokens/s over what the step's matrix products alone would allow; on a
GPU it is model FLOP/s over those of one large product, beside the share of the data sheet's.
"""

import json
import os
import statistics
import sys


def median_of(runs, key):
    return statistics.median(run[key] for run in runs.values())


def ratio(ours, theirs, key):
    both = ours.keys() & theirs.keys()
    return statistics.median(ours[repetition][key] / theirs[repetition][key] for repetition in both)


def read(runs_file):
    """(kind, size, implementation, precision) -> repetition -> result; `memory_mib` is what counts on the device."""
    runs = {}
    with open(runs_file) as lines:
        for line in lines:
            run = json.loads(line)
            result = run["result"]
            result["memory_mib"] = result.get("device_mib", result.get("peak_rss_mib"))
            key = (run["kind"], result.get("size", ""), result.get("implementation", ""), result["precision"])
            runs.setdefault(key, {})[run["repetition"]] = result
    return runs


def row_of(size, precision, ours, peer, theirs, ceiling):
    first = next(iter(ours.values()))
    row = {
        "size": size,
        "precision": precision,
        "micro_batch": first["micro_batch"],
        "context": first["context"],
        "tokens_per_second": median_of(ours, "tokens_per_second"),
        "memory_mib": median_of(ours, "memory_mib"),
        "flops_formula": first["flops_formula"],
        "model_tflops": median_of(ours, "model_tflops"),
        "repetitions": len(theirs or ours),
    }
    if "data_sheet_tflops" in first:
        row["share_of_data_sheet"] = row["model_tflops"] / first["data_sheet_tflops"]
    if ceiling and "peak_tflops" in next(iter(ceiling.values())):
        row["measured_peak_tflops"] = median_of(ceiling, "peak_tflops")
        row["share_of_ceiling"] = row["model_tflops"] / row["measured_peak_tflops"]
    elif ceiling:
        row["ceiling_tokens_per_second"] = median_of(ceiling, "tokens_per_second")
        row["share_of_ceiling"] = ratio(ours, ceiling, "tokens_per_second")
    if theirs and ours.keys() & theirs.keys():
        row["peer"] = f"{peer[0]} {next(iter(theirs.values()))['version']} {peer[1]}"
        row["peer_tokens_per_second"] = median_of(theirs, "tokens_per_second")
        row["speed_ratio"] = ratio(ours, theirs, "tokens_per_second")
        row["peer_memory_mib"] = median_of(theirs, "memory_mib")
        row["memory_ratio"] = ratio(ours, theirs, "memory_mib")
    return row


def main(runs_file, table_file):
    runs = read(runs_file)
    rows = []
    for (kind, size, _, precision), ours in runs.items():
        if kind != "ours":
            continue
        ceiling = runs.get(("ceiling", "", "", precision))
        peers = {
            key[2:]: theirs
            for key, theirs in runs.items()
            if key[:2] == ("peer", size) and key[3].split("-")[0] == precision
        }
        for peer, theirs in (peers or {None: None}).items():
            rows.append(row_of(size, precision, ours, peer, theirs, ceiling))
    with open(table_file, "w") as out:
        json.dump({"cores": os.cpu_count(), "rows": rows}, out, indent=2)

    columns = [
        ("size", "size", 5, ""),
        ("precision", "type", 4, ""),
        ("micro_batch", "batch", 5, ""),
        ("context", "context", 7, ""),
        ("peer", "peer", 40, ""),
        ("tokens_per_second", "ours t/s", 9, ".1f"),
        ("peer_tokens_per_second", "peer t/s", 9, ".1f"),
        ("speed_ratio", "ratio", 5, ".2f"),
        ("memory_mib", "ours MiB", 8, ".0f"),
        ("peer_memory_mib", "peer MiB", 8, ".0f"),
        ("memory_ratio", "ratio", 5, ".2f"),
        ("model_tflops", "TFLOP/s", 7, ".1f"),
        ("share_of_ceiling", "ceiling", 7, ".0%"),
        ("share_of_data_sheet", "sheet", 5, ".0%"),
    ]
    print(" ".join(f"{title:>{width}}" for _, title, width, _ in columns))
    for row in rows:
        print(" ".join(f"{format(row[key], spec) if key in row else '-':>{width}}" for key, _, width, spec in columns))
    if rows:
        print(f"model FLOPs: {rows[0]['flops_formula']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
