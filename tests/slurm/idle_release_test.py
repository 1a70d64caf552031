#!/usr/bin/env python3
"""idle_release_test.py: jobs/slurm/idle_release.py on played days of a job, by a clock, a Slurm and a Prometheus of the
test's own. slurm.idle_jobs_are_released has real ones, but seconds instead of days."""

import importlib.util
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

SCRIPT = Path(__file__).resolve().parents[2] / "jobs/slurm/idle_release.py"
MINUTE, HOUR, JOB = 60, 3600, "7"


def expect(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


class Day:
    """A job of ann's, the time, and when the job works: pairs of begin and end."""

    def __init__(self, folder, work):
        self.now, self.work, self.held, self.folder = 0.0, work, False, folder
        self.options = None

    def idles(self):
        """What Prometheus says of the last two hours."""
        return not self.held and all(end <= self.now - 2 * HOUR or self.now < begin for begin, end in self.work)

    def slurm(self, *command):
        """Stands in for scontrol and scancel."""
        if command[0] == "scancel":
            self.held = True
        facts = {"JobState": "PENDING" if self.held else "RUNNING", "Priority": "0" if self.held else "1"}
        facts |= {"UserId": "ann(1000)", "Comment": "trireme-monitor=20007", "Requeue": "1", "NodeList": "n1"}
        text = " ".join(f"{key}={value}" for key, value in facts.items())
        return SimpleNamespace(returncode=0, stdout=text, stderr="")

    def look_at(self, *times):
        """As cron does: each look has only the log of those before. Returns what all looks did, as (time, action)."""
        for self.now in times:
            idle_release.look(self.options)
        lines = [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]
        return [(line["time"], line["action"]) for line in lines]


def serve_prometheus(day):
    class Prometheus(BaseHTTPRequestHandler):
        def do_GET(self):
            found = [{"metric": {"user": "ann", "run": JOB}, "value": [day.now, "4"]}] if day.idles() else []
            text = json.dumps({"data": {"result": found}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Prometheus)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def begin(folder, work):
    """A day whose first GPU metrics are two hours old at the time 2 * HOUR."""
    folder.mkdir()
    day = Day(folder, work)
    sys.argv = [str(SCRIPT), f"--log={folder}/log", "--act", f"--prometheus={serve_prometheus(day)}"]
    day.options = idle_release.arguments()
    idle_release.run = day.slurm
    idle_release.time = SimpleNamespace(time=lambda: day.now, monotonic=lambda: day.now, sleep=lambda _: None)
    return day


def every_5_minutes(begin_at, end_at):
    return range(begin_at, end_at, 5 * MINUTE)


def a_job_that_idles_on_is_released(folder):
    day = begin(folder, [])
    did = day.look_at(*every_5_minutes(2 * HOUR, 4 * HOUR))
    expect(did == [(2 * HOUR, "warned"), (2 * HOUR + 15 * MINUTE, "released")], f"found {did}")
    mode = stat.S_IMODE((folder / "log").stat().st_mode)
    expect(mode == 0o640, f"the log's mode is {mode:o}")


def a_job_that_worked_since_is_warned_again(folder):
    worked_from, worked_until = 2 * HOUR + 6 * MINUTE, 2 * HOUR + 20 * MINUTE
    idles_again = worked_until + 2 * HOUR
    for name, later in (("soon", 0), ("after_a_week", 168 * HOUR)):
        day = begin(folder.with_name(f"{folder.name}_{name}"), [(worked_from, worked_until + later)])
        did = day.look_at(*every_5_minutes(2 * HOUR, 3 * HOUR), *every_5_minutes(4 * HOUR + later, 6 * HOUR + later))
        second = idles_again + later
        expected = [(2 * HOUR, "warned"), (second, "warned"), (second + 15 * MINUTE, "released")]
        expect(did == expected, f"{name}: found {did}, expected {expected}")


def a_warning_that_nobody_followed_up_is_given_again(folder):
    day = begin(folder, [])
    did = day.look_at(2 * HOUR, 5 * HOUR, 5 * HOUR + 20 * MINUTE)
    expected = [(2 * HOUR, "warned"), (5 * HOUR, "warned"), (5 * HOUR + 20 * MINUTE, "released")]
    expect(did == expected, f"found {did}, expected {expected}")


def messages_are_kept_a_line_each_if_they_are_alertmanagers(folder):
    message = {"version": "4", "alerts": [{"status": "firing", "startsAt": "2026-11-27T09:31:09.123Z"}]}
    alien = (b"", b"{}", b"[1]", b"no JSON", b'{"alerts": [{}]}', b'{"alerts": [1]}', b'{"alerts": [], "more": NaN}')
    for body in alien:
        expect(not idle_release.keep(folder, body), f"{body} is kept")
    expect(not folder.exists(), "something is written")
    for _ in range(2):
        expect(idle_release.keep(folder, json.dumps(message, indent=1).encode()), "a message is not kept")
    lines = folder.read_text().splitlines()
    expect([json.loads(line) for line in lines] == [message] * 2, f"kept are {lines}")
    mode = stat.S_IMODE(folder.stat().st_mode)
    expect(mode == 0o640, f"the mode is {mode:o}")


def what_cannot_work_is_refused(folder):
    def status(*options, **environment):
        command = [sys.executable, SCRIPT, f"--log={folder}", *options]
        return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)

    grace = status("--grace=7200")
    expect(grace.returncode == 2 and "expected less than --window, 7200" in grace.stderr, f"--grace: {grace}")
    alerts = status(f"--alerts={folder}")
    expect(alerts.returncode == 2 and "expected --listen" in alerts.stderr, f"--alerts: {alerts}")
    mask = status(TRIREME_UMASK="rw")
    expect(mask.returncode == 2 and "TRIREME_UMASK: found 'rw'" in mask.stderr, f"TRIREME_UMASK: {mask}")
    expect(not folder.exists(), "it has begun all the same")


specification = importlib.util.spec_from_file_location("idle_release", SCRIPT)
idle_release = importlib.util.module_from_spec(specification)
sys.dont_write_bytecode = True
specification.loader.exec_module(idle_release)
os.environ.pop("TRIREME_UMASK", None)
os.umask(0o022)
idle_release.restrict_file_modes()
with tempfile.TemporaryDirectory(prefix="trireme-idle-") as name:
    for case in (
        a_job_that_idles_on_is_released,
        a_job_that_worked_since_is_warned_again,
        a_warning_that_nobody_followed_up_is_given_again,
        messages_are_kept_a_line_each_if_they_are_alertmanagers,
        what_cannot_work_is_refused,
    ):
        case(Path(name) / case.__name__)
        print(f"passed: {case.__name__}")
