#!/usr/bin/env bash
# monitor_targets.sh FILE.json: writes the running jobs of train.sbatch that have an endpoint (TRIREME_MONITOR) as targets
# for Prometheus' file discovery, one a node, labelled with user, run (the job's number) and node as Slurm tells them.
# For cron; the file is replaced by one rename. Everybody may read it, as Prometheus must: squeue tells them no less.
set -euo pipefail
file=${1:?usage: monitor_targets.sh FILE.json}

targets() {
  local separator='' job user nodes comment port node
  echo '['
  while IFS='|' read -r job user nodes comment; do
    [[ $comment =~ ^trireme-monitor=([0-9]+)$ ]] || continue
    port=${BASH_REMATCH[1]}
    for node in $(scontrol show hostnames "$nodes"); do
      printf '%s{"targets": ["%s:%s"], "labels": {"user": "%s", "run": "%s", "node": "%s"}}' \
        "$separator" "$node" "$port" "$user" "$job" "$node"
      separator=$',\n'
    done
  done
  printf '\n]\n'
}

jobs=$(squeue --noheader --states=RUNNING --format='%A|%u|%N|%k')
new=$(mktemp "$file.XXXXXX")
trap 'rm -f "$new"' EXIT
targets <<<"$jobs" >"$new"
chmod 644 "$new"
mv "$new" "$file"
