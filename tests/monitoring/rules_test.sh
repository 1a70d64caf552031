#!/usr/bin/env bash
# rules_test.sh: promtool and amtool on what jobs/monitoring ships, and the unit tests of its rules. Each rule without its
# threshold must fail them. Status 77: skipped, and why.
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

# Every alert has a test, and a test that notices a broken rule.
mkdir -p "$folder/jobs/monitoring" "$folder/tests/monitoring"
cp rules_test.yml "$folder/tests/monitoring"
for alert in $(sed -n 's/.*- alert: //p' $shipped/rules.yml); do
  awk -v alert="$alert" '
    /- alert: / { inside = $3 == alert }
    inside && /expr:/ { print "        expr: vector(0) > 1"; skip = /expr: >-/; next }
    skip && /^          / { next }
    { skip = 0; print }' $shipped/rules.yml >"$folder/jobs/monitoring/rules.yml"
  promtool check rules "$folder/jobs/monitoring/rules.yml" >/dev/null
  if promtool test rules "$folder/tests/monitoring/rules_test.yml" >"$folder/log" 2>&1; then
    echo "FAILED: no test notices that $alert never fires" && exit 1
  fi
done
