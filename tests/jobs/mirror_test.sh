#!/usr/bin/env bash
# mirror_test.sh TRIREME CASE: checkpoints mirrored to a real S3 server: moto, a package of PyPI, in TRIREME_PYTHON's or
# python3's environment. Cases are the functions below.
python=${TRIREME_PYTHON:-python3}
"$python" -c 'import boto3, moto.server, flask' 2>/dev/null ||
  { echo "SKIPPED: $python has no moto; pip install 'moto[s3,server]'" && exit 77; }
folder=$(mktemp -d)
# shellcheck source=tests/jobs/support.sh
. "$(dirname "$0")/support.sh"
servers=()
trap '[ ${#servers[@]} -eq 0 ] || kill "${servers[@]}" 2>/dev/null || true; rm -rf "$folder"' EXIT
export AWS_ACCESS_KEY_ID=mirror-test AWS_SECRET_ACCESS_KEY=not-to-be-seen AWS_DEFAULT_REGION=us-east-1

start_server() {
  "$python" - >"$folder/port" 2>"$folder/server.log" <<'END' &
import time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
print(server.get_host_and_port()[1], flush=True)
while True:
    time.sleep(3600)
END
  servers+=($!)
  within 60 grep -qx "[0-9]*" "$folder/port" # below what it says of itself
  export AWS_ENDPOINT_URL
  AWS_ENDPOINT_URL=http://127.0.0.1:$(tail -n 1 "$folder/port")
}
train() { "$root/jobs/mpirun.sh" 2 train --config="$folder/run.ini" --checkpoint.mirror=s3://models/run "$@" >"$log" 2>&1; }

a_real_s3_server_holds_and_gives_back_what_was_trained() {
  start_server
  "$python" -c 'import boto3; boto3.client("s3").create_bucket(Bucket="models")' || fail "no bucket"
  # Shards of two parts.
  local size=(--model.hidden=256 --model.heads=4 --checkpoint.every=2 --checkpoint.keep=2)
  train "${size[@]}" --train.steps=6 || fail "training"
  "$python" - "$folder/checkpoints" >"$folder/compared" <<'END' || fail "$(cat "$folder/compared")"
import boto3, json, pathlib, sys
s3 = boto3.client("s3")
names = {each["Key"]: each for each in s3.list_objects_v2(Bucket="models")["Contents"]}
manifests = sorted(name for name in names if name.endswith(".json"))
assert manifests == ["run/step-00000004.json", "run/step-00000006.json"], manifests
parts = 0
for name in manifests:
    manifest = json.loads(s3.get_object(Bucket="models", Key=name)["Body"].read())
    step = f"step-{manifest['step']:08}"
    for file in manifest["files"]:
        key = f"run/{step}.{manifest['identity']}/{file['name']}"
        answer = s3.get_object(Bucket="models", Key=key)
        assert answer["Body"].read() == (pathlib.Path(sys.argv[1]) / step / file["name"]).read_bytes(), key
        parts += len(file["sha256"])
        assert ("-" in answer["ETag"]) == (len(file["sha256"]) > 1), f"{key}: {answer['ETag']}"
        names.pop(key)
    names.pop(name)
assert not names, f"more than what is kept: {names}"
assert parts >= 6 + 2, f"no object was uploaded in parts: {parts}"
assert not s3.list_multipart_uploads(Bucket="models").get("Uploads"), "unfinished uploads"
END
  rm -r "$folder/checkpoints"
  train "${size[@]}" --train.steps=8 || fail "training from the mirror"
  expect_says 'resumed     step 6 from'
  expect_says 'step-00000006 is restored from s3://models/run/step-00000006.json'
  expect_whole_run 8
  ! grep -rq not-to-be-seen "$log" "$folder/checkpoints" "$folder/metrics.jsonl" || fail "a secret was told"
}

prepare_run
# Between the run and the server, what networks and busy servers do.
a_real_s3_server_behind_a_network_that_fails() {
  start_server
  "$python" -c 'import boto3; boto3.client("s3").create_bucket(Bucket="models")' || fail "no bucket"
  local direct=$AWS_ENDPOINT_URL size=(--model.hidden=256 --model.heads=4 --checkpoint.every=3)
  cat >"$folder/faults" <<'END'
503 2 PUT .*partNumber=2
cut 1 PUT .*partNumber=1
cut 1 POST .*uploadId
503 1 POST .*uploads
cut 1 PUT .*json
cut-body 2 GET .*shard
damage-download 1 GET .*model.h5
503 1 GET .*json
END
  "$root/tests/support/s3/proxy.py" "${AWS_ENDPOINT_URL##*:}" "$folder/faults" >"$folder/met" &
  servers+=($!)
  within 60 test -s "$folder/met"
  AWS_ENDPOINT_URL=http://127.0.0.1:$(head -n 1 "$folder/met")
  train "${size[@]}" --train.steps=3 || fail "training"
  rm -r "$folder/checkpoints"
  train "${size[@]}" --train.steps=5 || fail "training from the mirror"
  expect_says 'resumed     step 3 from'
  expect_whole_run 5
  local wanted
  wanted=$(awk '{ sum += $2 } END { print sum }' "$folder/faults")
  [ "$(sed 1d "$folder/met" | wc -l)" = "$wanted" ] || fail "not all faults were met: $(cat "$folder/met")"

  # A run that is killed in the midst of an upload leaves no copy that counts, and the next one makes up for it.
  echo '503 1000000 PUT .*partNumber=2' >"$folder/faults"
  "$root/jobs/mpirun.sh" 2 train --config="$folder/run.ini" --checkpoint.mirror=s3://models/run "${size[@]}" \
    --train.steps=1000000 >"$log" 2>&1 &
  local run=$!
  within 60 grep -q 'partNumber=2' <(sed -n '/uploads/,$p' "$folder/met")
  within 60 has_saved_after 6
  kill -KILL -- $(ranks_of "$run")
  wait "$run" && fail "the run was not killed"
  manifests() { AWS_ENDPOINT_URL=$direct "$python" -c '
import boto3
names = [each["Key"] for each in boto3.client("s3").list_objects_v2(Bucket="models")["Contents"]]
print(*sorted(name for name in names if name.endswith(".json")))'; }
  [ "$(manifests)" = "run/step-00000003.json run/step-00000005.json" ] || fail "copies: $(manifests)"
  : >"$folder/faults"
  local last
  last=$(newest_checkpoint)
  train "${size[@]}" --train.steps="$last" || fail "the start after"
  manifests | grep -q "$(printf 'step-%08d.json' "$last")" || fail "the next start has not made up for it: $(manifests)"
}

# The processes of trireme below a process.
ranks_of() {
  local child
  for child in $(pgrep -P "$1"); do
    if [ "$(readlink "/proc/$child/exe")" = "$(readlink -f "$TRIREME")" ]; then echo "$child"; fi
    ranks_of "$child"
  done
}

"$2"
