#!/usr/bin/env python3
"""stack_test.py TRIREME: jobs/monitoring with a real Prometheus and Alertmanager, which watch a real run of 2 ranks.

A rank is stopped: the alert of the stalled step must reach a webhook, and be taken back when the rank goes on;
idle_release.py keeps it, and the report of the run draws it. Every query of the board must return data. What this
machine has not is played: GPU samples come from a fake exporter, and pods from a file that has the labels of
Kubernetes' discovery (Debian's Prometheus is built without it), relabelled as the shipped configuration says. Time is
scaled: the configurations are the shipped ones but for addresses and durations.
All of it listens on 127.0.0.1. Status 77: skipped, and why.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "jobs/monitoring"
WATCHDOG = 16  # seconds; the step counts as stalled after half of them

FAKE_GPUS = """\
trireme_gpu_utilization_ratio{gpu="0",uuid="GPU-fake-0"} 0.05
trireme_gpu_utilization_ratio{gpu="1",uuid="GPU-fake-1"} 0.91
trireme_gpu_memory_bytes{gpu="0",uuid="GPU-fake-0"} 85899345920
trireme_gpu_memory_used_bytes{gpu="0",uuid="GPU-fake-0"} 53687091200
trireme_gpu_power_watts{gpu="0",uuid="GPU-fake-0"} 112.5
trireme_gpu_temperature_celsius{gpu="0",uuid="GPU-fake-0"} 41
"""


def fail(text):
    sys.exit(f"FAILED: {text}")


def within(seconds, what, condition):
    """Looks again and again until the condition is true; returns what it said."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            fail(f"waited {seconds} s in vain for {what}")
        time.sleep(0.05)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


def is_ready(port):
    try:
        return bool(get(port, "/-/ready"))
    except (urllib.error.URLError, OSError):
        return False


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, text=""):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


class FakeGpuExporter(Handler):
    def do_GET(self):
        self.answer(FAKE_GPUS)


class Webhook(Handler):
    messages = []  # (path, alert)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.messages.extend((self.path, alert) for alert in body["alerts"])
        self.answer()

    @classmethod
    def got(cls, path, name, status):
        alerts = [alert for where, alert in cls.messages if where == path and alert["status"] == status]
        return [alert for alert in alerts if alert["labels"]["alertname"] == name]


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Who asked has ended."""


def serve(handler):
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def session_of(leader):
    """Processes of a session that live."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == leader and " Z " not in (folder / "stat").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


class Stack:
    """The processes of the test, ended with it."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []

    def start(self, name, *command, **environment):
        log = open(self.folder / f"{name}.log", "w")
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | environment,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        for process in self.processes:
            for member in (process.pid, *session_of(process.pid)):
                try:
                    os.kill(member, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            process.wait()
            within(10, "the end of what was started", lambda: not session_of(process.pid))
        if error:
            for log in self.folder.glob("*.log"):
                print(f"--- {log.name}\n{log.read_text()[-3000:]}")


def replace(text, *pairs):
    for old, new in pairs:
        if old not in text:
            fail(f"the shipped configuration does not say '{old}'")
        text = text.replace(old, new)
    return text


def scaled(rules):
    """Durations a 1440th as long, but of 2 s at least: 2 hours are 5 s."""
    units = {"s": 1, "m": 60, "h": 3600}
    seconds = lambda match: max(2, int(match[2]) * units[match[3]] / 1440)
    return re.sub(r"(for: |\[)(\d+)([smh])\b", lambda match: f"{match[1]}{seconds(match):.0f}s", rules)


def configure(folder, trainer, fake, alertmanager, webhook, idle_release):
    targets = [{"targets": [f"127.0.0.1:{fake}"], "labels": {"user": "bob", "run": "8", "node": "n2"}}]
    (folder / "slurm_targets.json").write_text(json.dumps(targets))
    pod = {
        "__meta_kubernetes_pod_phase": "Running",
        "__meta_kubernetes_pod_ip": "127.0.0.1",
        "__meta_kubernetes_namespace": "training",
        "__meta_kubernetes_pod_name": "gpt-worker-0",
        "__meta_kubernetes_pod_node_name": "k1",
        "__meta_kubernetes_pod_label_trireme_run": "gpt",
        "__meta_kubernetes_pod_annotation_trireme_monitor_port": str(fake),
    }
    pods = [
        pod,
        pod | {"__meta_kubernetes_pod_name": "gpt-worker-1", "__meta_kubernetes_pod_label_trireme_user": "eve"},
        pod | {"__meta_kubernetes_pod_phase": "Pending"},
        pod | {"__meta_kubernetes_pod_label_trireme_run": ""},
        pod | {"__meta_kubernetes_pod_annotation_trireme_monitor_port": ""},
    ]
    groups = [{"targets": ["10.0.0.1:1"], "labels": labels} for labels in pods]
    (folder / "pods.json").write_text(json.dumps(groups))
    kubernetes = (SHIPPED / "prometheus-kubernetes.yml").read_text()
    job = replace(
        kubernetes[kubernetes.index("  - job_name") :],
        ("kubernetes_sd_configs:\n      - role: pod", "file_sd_configs:\n      - files: [pods.json]"),
    )
    prometheus = replace(
        (SHIPPED / "prometheus.yml").read_text(),
        ("15s", "250ms"),
        ("127.0.0.1:9400", f"127.0.0.1:{trainer}"),
        ("{user: me, run: local, node: localhost}", '{user: ann, run: "7", node: n1}'),
        ("127.0.0.1:9093", f"127.0.0.1:{alertmanager}"),
    )
    (folder / "prometheus.yml").write_text(prometheus + "\n" + job)
    (folder / "rules.yml").write_text(scaled((SHIPPED / "rules.yml").read_text()))
    routes = replace(
        (SHIPPED / "alertmanager.yml").read_text(),
        ("group_wait: 30s", "group_wait: 200ms"),
        ("group_interval: 5m", "group_interval: 1s"),
        ("http://127.0.0.1:9094/", f"http://127.0.0.1:{webhook}/people\n      - url: http://127.0.0.1:{idle_release}/"),
        ("http://127.0.0.1:9095/", f"http://127.0.0.1:{webhook}/idle"),
    )
    (folder / "alertmanager.yml").write_text(routes)


def train(stack, trireme):
    folder = stack.folder
    (folder / "text.txt").write_text("".join(chr(97 + i * i % 23) for i in range(20000)))
    pack = [trireme, "pack", "text", f"--input={folder}/text.txt", f"--output={folder}/train.h5"]
    split = [f"--validation-output={folder}/validation.h5", "--validation-share=0.1"]
    subprocess.run([*pack, *split, "--tokenizer=characters"], check=True, capture_output=True)
    options = {
        "data.train": folder / "train.h5",
        "data.validation": folder / "validation.h5",
        "model.layers": 2,
        "model.hidden": 32,
        "model.heads": 2,
        "model.context": 32,
        "train.steps": 100000000,
        "train.global_batch": 4,
        "train.micro_batch": 1,
        "train.device": "cpu",
        "train.validate_every": 50,
        "train.validation_batches": 1,
        "train.watchdog": WATCHDOG,
        "parallel.pipeline": 2,
        "checkpoint.directory": folder / "checkpoints",
        "checkpoint.every": 100,
        "log.progress": "plain",
        "log.every": 1000,
        "log.metrics": folder / "metrics.jsonl",
        "log.events": folder / "events.jsonl",
        "monitor.listen": 0,
        "monitor.peak_flops": 1e11,
    }
    keys = [f"--{key}={value}" for key, value in options.items()]
    job = stack.start("train", ROOT / "tests/support/mpirun.sh", 2, trireme, "train", *keys)
    address = within(60, "the endpoint", lambda: re.search(r"http://127\.0\.0\.1:(\d+)/metrics", stack.said("train")))
    return job, int(address[1])


def rank_process(job, rank):
    """The process of a rank: mpirun keeps its ranks in its session."""
    for process in session_of(job.pid):
        environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        if f"OMPI_COMM_WORLD_RANK={rank}".encode() in environment:
            return process
    return None


class Prometheus:
    def __init__(self, port):
        self.port = port

    def query(self, expression):
        answer = json.loads(get(self.port, "/api/v1/query?" + urllib.parse.urlencode({"query": expression})))
        return answer["data"]["result"]

    def value(self, expression):
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None


def check_metrics(trainer):
    """Names, units, help and types are as Prometheus wants them."""
    said = subprocess.run(["promtool", "check", "metrics"], input=get(trainer, "/metrics"), capture_output=True, text=True)
    if said.returncode or said.stderr.strip() or said.stdout.strip():
        fail(f"promtool says of /metrics: {said.stdout}{said.stderr}")


def stall_alert(job, prometheus):
    rank = rank_process(job, 1) or fail("rank 1 has no process")
    os.kill(rank, signal.SIGSTOP)
    try:
        alert = within(40, "the stalled step at the webhook", lambda: Webhook.got("/people", "TriremeStepStalled", "firing"))
    finally:
        os.kill(rank, signal.SIGCONT)
    labels = {key: alert[0]["labels"].get(key) for key in ("user", "run", "node", "severity")}
    if labels != {"user": "ann", "run": "7", "node": "n1", "severity": "critical"}:
        fail(f"the alert is about {labels}")
    if alert[0]["annotations"]["summary"] != "Run 7 of ann stands still on n1":
        fail(f"the alert says {alert[0]['annotations']}")
    steps = prometheus.value("trireme_steps_total")
    within(20, "steps after the stall", lambda: (prometheus.value("trireme_steps_total") or 0) > steps)
    within(30, "the alert taken back", lambda: Webhook.got("/people", "TriremeStepStalled", "resolved"))


def check_report(folder, trireme):
    """The kept messages are what the report reads."""
    alerts = folder / "alerts.jsonl"
    within(10, "the alert taken back in the file of messages", lambda: alerts.exists() and '"resolved"' in alerts.read_text())
    if alerts.stat().st_mode & 0o777 != 0o640:
        fail(f"the mode of the file of messages is {alerts.stat().st_mode & 0o777:o}")
    command = [trireme, "report", folder, f"--alerts={alerts}", f"--output={folder}/report.html"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        fail(f"the report refuses: {done.stderr}")
    if "Run 7 of ann stands still on n1" not in (folder / "report.html").read_text():
        fail("the report does not tell of the stalled step")


def board_queries():
    board = json.loads((SHIPPED / "grafana/trireme.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in board["annotations"]["list"]:
        yield "annotation " + annotation["name"], annotation["expr"].replace(" > 0", "")  # without a restart there is none


def check_board(prometheus):
    """Variables as Grafana would fill them in, for a time scaled like all else."""
    values = {"$user": ".*", "$run": ".*", "$node": ".*", "$gpu_hour_price": "2.50", "$__rate_interval": "5s"}
    values |= {"$__range:1m": "5s:1s", "[1m]": "[5s]"}
    count = 0
    for title, expression in board_queries():
        for variable, value in values.items():
            expression = expression.replace(variable, value)
        if "$" in expression:
            fail(f"the board's panel '{title}' has a variable that is not known: {expression}")
        within(30, f"data for the board's panel '{title}': {expression}", lambda: prometheus.query(expression))
        count += 1
    cost = prometheus.query(
        next(e for t, e in board_queries() if t.startswith("Cost"))
        .replace("$user", "bob").replace("$run", ".*").replace("$node", ".*")
        .replace("$__range:1m", "5s:1s").replace("$gpu_hour_price", "60")
    )
    # 5 looks at one idle GPU of two, each counted as a minute; at 60 an hour a minute costs 1.
    if not 3 <= float(cost[0]["value"][1]) <= 6:
        fail(f"5 idle samples cost {cost}, expected 5 or nearly so")
    return count


def check_pods(prometheus):
    def pods():
        active = json.loads(get(prometheus.port, "/api/v1/targets"))["data"]["activeTargets"]
        found = [target for target in active if target["scrapePool"] == "trireme-kubernetes"]
        return found if found and all(target["health"] == "up" for target in found) else None

    targets = within(30, "pods", pods)
    labels = sorted((t["labels"]["user"], t["labels"]["run"], t["labels"]["node"], t["labels"]["instance"]) for t in targets)
    if labels != [("eve", "gpt", "k1", "gpt-worker-1"), ("training", "gpt", "k1", "gpt-worker-0")]:
        fail(f"pods became the targets {labels}")


def main():
    trireme = Path(sys.argv[1]).resolve()
    for program in ("prometheus", "promtool", "prometheus-alertmanager"):
        if not shutil.which(program):
            print(f"SKIPPED: found no {program}; jobs/install.sh --tests installs it")
            sys.exit(77)
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trireme-stack-") as name, Stack(Path(name)) as stack:
        folder = stack.folder
        job, trainer = train(stack, trireme)
        alertmanager, port, idle_release = free_port(), free_port(), free_port()
        configure(folder, trainer, serve(FakeGpuExporter), alertmanager, serve(Webhook), idle_release)
        stack.start(
            "alertmanager", "prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alerts", f"--web.listen-address=127.0.0.1:{alertmanager}",
            "--cluster.listen-address=",
        )  # fmt: skip
        stack.start(
            "prometheus", "prometheus", f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/series", f"--web.listen-address=127.0.0.1:{port}",
        )  # fmt: skip
        stack.start(
            "idle_release", ROOT / "jobs/slurm/idle_release.py", f"--log={folder}/released.jsonl",
            f"--prometheus=http://127.0.0.1:{port}", f"--listen=127.0.0.1:{idle_release}",
            f"--alerts={folder}/alerts.jsonl",
        )  # fmt: skip
        within(60, "Alertmanager", lambda: is_ready(alertmanager))
        within(60, "Prometheus", lambda: is_ready(port))
        prometheus = Prometheus(port)
        within(30, "steps in Prometheus", lambda: (prometheus.value("trireme_steps_total") or 0) > 20)
        check_metrics(trainer)
        if prometheus.query('trireme_gpu_utilization_ratio{run="7"}') and not shutil.which("nvidia-smi"):
            fail("the run tells of a GPU that is not there")
        stall_alert(job, prometheus)
        check_report(folder, trireme)
        within(
            30,
            "the fake GPU's idleness at the webhook of idle release",
            lambda: any(
                (alert["labels"]["user"], alert["labels"]["run"], alert["labels"]["gpu"]) == ("bob", "8", "0")
                for alert in Webhook.got("/idle", "TriremeGpuIdle", "firing")
            ),
        )
        count = check_board(prometheus)
        check_pods(prometheus)
        if job.poll() is not None:
            fail("training has ended")
    print(f"passed after {time.monotonic() - begun:.0f} s: {count} queries of the board had data")


main()
