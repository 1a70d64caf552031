#!/bin/bash
# leave.sh: before Kubernetes takes a worker away, has its run save, and waits for that. No ranks are sent here any
# more; the supervisor goes on on the other workers, and no step is lost. It does the same on a host without Kubernetes,
# for all runs of the user there; `rm /dev/shm/trireme-leaves` brings the host back.
set -euo pipefail
touch /dev/shm/trireme-leaves
while pkill -USR1 -x trireme; do # again, for ranks that were on their way
  while pgrep -x trireme >/dev/null; do sleep 0.2; done
done
