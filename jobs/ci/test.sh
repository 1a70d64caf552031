#!/usr/bin/env bash
# test.sh: everything that must hold before a run is worth its time. TESTS: another command than the whole of tests/run.sh.
# shellcheck source=jobs/ci/common.sh
. "$(dirname "$0")/common.sh"
exec ${TESTS:-tests/run.sh}
