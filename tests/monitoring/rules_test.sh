#!/usr/bin/env bash
# rules_test.sh: promtool and amtool on what jobs/monitoring ships, and the unit tests of its rules. An alert that never
# fires, and a number that is a quarter off, must fail them. Status 77: skipped, and why.
set -euo pipefail
cd "$(dirname "$0")"
shipped=../../jobs/monitoring
for program in promtool amtool; do
  command -v $program >/dev/null || { echo "SKIPPED: found no $program; jobs/install.sh --tests installs it" && exit 77; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

promtool check config $shipped/prometheus.yml
amtool check-config $shipped/alertmanager.yml
promtool test rules rules_test.yml

mkdir -p "$folder/jobs/monitoring" "$folder/tests/monitoring"
cp rules_test.yml "$folder/tests/monitoring"

# notices WHAT: the unit tests fail with the rules as they have been changed.
notices() {
  ! cmp -s $shipped/rules.yml "$folder/jobs/monitoring/rules.yml" || { echo "FAILED: nothing was changed: $1" && exit 1; }
  promtool check rules "$folder/jobs/monitoring/rules.yml" >/dev/null
  if promtool test rules "$folder/tests/monitoring/rules_test.yml" >"$folder/log" 2>&1; then
    echo "FAILED: no test notices: $1" && exit 1
  fi
}

for alert in $(sed -n 's/.*- alert: //p' $shipped/rules.yml); do
  awk -v alert="$alert" '
    /- alert: / { inside = $3 == alert }
    inside && /expr:/ { print "        expr: vector(0) > 1"; skip = /expr: >-/; next }
    skip && /^          / { next }
    { skip = 0; print }' $shipped/rules.yml >"$folder/jobs/monitoring/rules.yml"
  notices "$alert never fires"
done

# Of the straggler's number what is above 1 counts.
while read -r rule was less more; do
  for now in "$less" "$more"; do
    sed "/- [a-z]*: $rule\$/,/- [a-z]*: /s|$was|$now|" $shipped/rules.yml >"$folder/jobs/monitoring/rules.yml"
    notices "$rule has $now in place of $was"
  done
done <<'END'
run:trireme_idle_gpus:count 0\.2 0.15 0.25
TriremeGpuIdle 0\.2 0.15 0.25
TriremeGpuIdle 2h$ 90m 150m
TriremeStepStalled limit_seconds./.2 limit_seconds/1.5 limit_seconds/2.5
TriremeStepStalled 600 450 750
TriremeCheckpointTooOld 4.\*.3600 3*3600 5*3600
TriremeStraggler 1\.2 1.15 1.25
TriremeStraggler 10m$ 450s 750s
TriremeDiskNearlyFull 0\.1 0.075 0.125
TriremeDiskNearlyFull 5m$ 225s 375s
TriremeEndpointDown 5m$ 225s 375s
END
