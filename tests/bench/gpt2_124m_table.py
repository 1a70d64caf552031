#!/usr/bin/env python3
"""gpt2_124m_table.py RUNS.jsonl TABLE.json: the table of gpt2_124m.sh.

A ratio is the median over repetitions of ours / theirs within one repetition, so that slow drifts of the machine
cancel. The share of the ceiling is our tokens/s over what the step's matrix products alone would allow.
"""

import json
import os
import statistics
import sys


def median_of(runs, key):
    return statistics.median(run[key] for run in runs.values())


def ratio(ours, theirs, key):
    return statistics.median(ours[repetition][key] / theirs[repetition][key] for repetition in theirs)


def main(runs_file, table_file):
    runs = {}  # (kind, implementation, precision) -> repetition -> result
    with open(runs_file) as lines:
        for line in lines:
            run = json.loads(line)
            result = run["result"]
            key = (run["kind"], result.get("implementation", ""), result["precision"])
            runs.setdefault(key, {})[run["repetition"]] = result

    rows = []
    for (kind, implementation, precision), theirs in runs.items():
        if kind != "peer":
            continue
        base = precision.split("-")[0]
        ours, ceiling = runs["ours", "trireme", base], runs["ceiling", "", base]
        rows.append(
            {
                "precision": base,
                "peer": f"{implementation} {next(iter(theirs.values()))['version']} {precision}",
                "tokens_per_second": median_of(ours, "tokens_per_second"),
                "peer_tokens_per_second": median_of(theirs, "tokens_per_second"),
                "speed_ratio": ratio(ours, theirs, "tokens_per_second"),
                "peak_rss_mib": median_of(ours, "peak_rss_mib"),
                "peer_peak_rss_mib": median_of(theirs, "peak_rss_mib"),
                "memory_ratio": ratio(ours, theirs, "peak_rss_mib"),
                "ceiling_tokens_per_second": median_of(ceiling, "tokens_per_second"),
                "share_of_ceiling": ratio(ours, ceiling, "tokens_per_second"),
                "repetitions": len(theirs),
            }
        )
    with open(table_file, "w") as out:
        json.dump({"cores": os.cpu_count(), "rows": rows}, out, indent=2)

    print(f"{'peer':40} {'ours t/s':>9} {'peer t/s':>9} {'ratio':>6} {'ours MiB':>9} {'peer MiB':>9} {'ratio':>6} {'ceiling':>8}")
    for row in rows:
        print(
            f"{row['peer']:40} {row['tokens_per_second']:9.1f} {row['peer_tokens_per_second']:9.1f}"
            f" {row['speed_ratio']:6.2f} {row['peak_rss_mib']:9.0f} {row['peer_peak_rss_mib']:9.0f}"
            f" {row['memory_ratio']:6.2f} {row['share_of_ceiling']:8.0%}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
