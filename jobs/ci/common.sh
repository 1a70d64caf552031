# shellcheck shell=bash
# Sourced by the stages. What they are told, in the environment:
#   CONFIGURATION   INI file of the run
#   RUN             folder of its checkpoints, metrics and figures
#   RANKS           ranks of this machine (2)
#   IMAGE_TAG       image that trains, by docker (empty: build/trireme, or TRIREME, of this machine)
#   LARGEST_LOSS    validation loss above which nothing is published
#   PUBLISH         folder that published checkpoints go to (RUN/published)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
stage=$(basename "$0")
umask "${TRIREME_UMASK:-027}" # what is written here is for no others, as what the program writes
refuse() { echo "$stage: $1" >&2 && exit 2; }
need() {
  local name
  for name in "$@"; do [ -n "${!name:-}" ] || refuse "$name: found nothing, expected a value in the environment"; done
}

# trireme_on RANKS COMMAND ARGUMENT...
trireme_on() {
  if [ -n "${IMAGE_TAG:-}" ]; then
    command -v docker >/dev/null ||
      refuse "IMAGE_TAG=$IMAGE_TAG: found no docker, expected it here; with an empty IMAGE_TAG this machine's build is used"
    docker run --rm --read-only --tmpfs /tmp --shm-size=1g --network=none --cap-drop=ALL \
      --security-opt=no-new-privileges --user "$(id -u):$(id -g)" --volume "$PWD:$PWD" --workdir "$PWD" \
      "${IMAGE:-trireme}:$IMAGE_TAG" "$@"
  else
    jobs/mpirun.sh "$@"
  fi
}
