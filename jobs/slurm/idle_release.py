#!/usr/bin/env python3
"""Gives back GPUs that idle: asks Prometheus which jobs of train.sbatch have only idle ones, warns them, and, when they
idle on, makes them save and leave the queue slot; they stay in the queue, held (`scontrol release JOB` goes on).

  idle_release.py --log=FILE                         dry run: says what would be done
  idle_release.py --log=FILE --act                   one look, for cron: */5 * * * *
  idle_release.py --log=FILE --act --listen=127.0.0.1:9095   a look at every message of Alertmanager's webhook
  idle_release.py ... --listen=... --alerts=ALERTS   which is kept as well, a line a message: `trireme report --alerts`

To be run by Slurm's administrator. A job idles when none of its GPUs had a mean utilisation of 20% in any twelfth of the
last two hours, and Prometheus knows it for nearly all of them. FILE gets one JSON object a line for each warning and
each release, and is where later looks find the warnings. A warning counts for two hours (--window): a job that idles until
then has idled ever since it was warned. One that worked meanwhile is warned again, as is one that nobody looked at.
Files are 0640 at most, or as TRIREME_UMASK (octal) says.
"""

import argparse
import fcntl
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", required=True, metavar="FILE", help="JSON lines of what was done")
    parser.add_argument("--act", action="store_true", help="warn and release; without it only say so")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", metavar="URL")
    parser.add_argument("--below", type=float, default=0.2, help="utilisation that counts as idle (%(default)s)")
    parser.add_argument("--window", type=int, default=7200, metavar="SECONDS", help="idle for so long (%(default)s)")
    parser.add_argument("--grace", type=int, default=900, metavar="SECONDS", help="after the warning (%(default)s)")
    parser.add_argument("--patience", type=int, default=600, metavar="SECONDS", help="that a save may take (%(default)s)")
    parser.add_argument("--listen", metavar="ADDRESS:PORT", help="wait for Alertmanager's webhook")
    parser.add_argument("--alerts", metavar="FILE", help="what the webhook gets is added to it; needs --listen")
    options = parser.parse_args()
    if not 0 <= options.grace < options.window:
        parser.error(f"--grace: found {options.grace}, expected less than --window, {options.window}")
    if options.alerts and not options.listen:
        parser.error("--alerts: expected --listen as well")
    return options


def restrict_file_modes():
    """As trireme does."""
    given = os.environ.get("TRIREME_UMASK")
    if given is None:
        os.umask(0o027 | os.umask(0o777))
    elif re.fullmatch("[0-7]{1,3}", given):
        os.umask(int(given, 8))
    else:
        print(f"idle_release.py: TRIREME_UMASK: found '{given}', expected an octal number up to 777", file=sys.stderr)
        sys.exit(2)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def idle_runs(options):
    """[(user, run, number of GPUs)] of runs all of whose GPUs idle."""
    gpu, window = "trireme_gpu_utilization_ratio", options.window
    peak = f"max_over_time(avg_over_time({gpu}[{max(window // 12, 1)}s])[{window}s:{max(window // 24, 1)}s])"
    looks = min(window, 20)
    known = f"count_over_time({gpu}[{window}s:{max(window // looks, 1)}s])"
    expression = (
        f"count by (user, run) ({gpu}) and (max by (user, run) ({peak}) < {options.below})"
        f" and (min by (user, run) ({known}) >= {0.9 * looks:.0f})"
    )
    address = f"{options.prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            found = json.load(answer)["data"]["result"]
    except (OSError, ValueError, KeyError) as error:
        raise RuntimeError(f"--prometheus={options.prometheus} does not answer as expected: {error}") from error
    return [(s["metric"].get("user", ""), s["metric"].get("run", ""), int(s["value"][1])) for s in found]


def facts_of(job):
    """What Slurm says of a job, by key; empty where there is none."""
    said = run("scontrol", "--oneliner", "show", "job", job)
    return dict(re.findall(r"(\S+?)=(\S*)", said.stdout)) if said.returncode == 0 else {}


def objection(user, facts):
    """Why a job must be left alone; empty: it may be asked to leave."""
    if not facts:
        return "Slurm knows no such job"
    if facts.get("JobState") != "RUNNING":
        return f"it is {facts.get('JobState')}"
    if facts.get("UserId", "").split("(")[0] != user:
        return f"Prometheus says that it is {user}'s, Slurm that it is {facts.get('UserId')}'s"
    if not facts.get("Comment", "").startswith("trireme-monitor="):
        return "it is no job of train.sbatch, and would not save"
    if facts.get("Requeue") != "1":
        return "it was submitted with --no-requeue"
    return ""


class Log:
    def __init__(self, path):
        self.file = open(path, "a+", encoding="utf-8")
        fcntl.flock(self.file, fcntl.LOCK_EX)  # one look at a time

    def write(self, action, job, facts, gpus, **more):
        line = {"time": time.time(), "action": action, "job": job, "life": life_of(facts), "gpus": gpus}
        line |= {"user": facts["UserId"].split("(")[0], "nodes": facts.get("NodeList", ""), **more}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def warned_at(self, job, life, window):
        """Of a job that has idled for the window: when it was warned of that, if it was."""
        self.file.seek(0)
        lines = [json.loads(line) for line in self.file]
        times = [l["time"] for l in lines if (l["action"], l["job"], l["life"]) == ("warned", job, life)]
        latest = max(times, default=None)
        return None if latest is None or latest < time.time() - window else latest


def life_of(facts):
    return int(facts.get("Restarts", 0)) + 1


def release(options, job, facts):
    """True when the job has saved and is held."""
    mark = run("scontrol", "update", f"JobId={job}", f"AdminComment=hold-after-life-{life_of(facts)}")
    if mark.returncode != 0:
        print(f"job {job}: Slurm refuses the mark: {mark.stderr.strip()}")
        return False
    run("scancel", "--batch", "--signal=USR1", job)
    end = time.monotonic() + options.patience
    while time.monotonic() < end:
        now = facts_of(job)
        if now.get("JobState") == "PENDING" and now.get("Priority") == "0":  # held
            return True
        if now.get("JobState") not in ("RUNNING", "COMPLETING", "PENDING"):
            break  # it has ended, which frees its GPUs as well
        time.sleep(0.5)
    return False


def look(options):
    log = Log(options.log)
    for user, job, gpus in idle_runs(options):
        if not job.isdecimal():
            continue
        facts = facts_of(job)
        reason = objection(user, facts)
        if reason:
            print(f"job {job}: idle, but left alone: {reason}")
            continue
        warned = log.warned_at(job, life_of(facts), options.window)
        wait = 0 if warned is None else warned + options.grace - time.time()
        step = "warn" if warned is None else "wait" if wait > 0 else "release"
        print(f"job {job} of {user}: {gpus} GPUs idle on {facts['NodeList']}: {'' if options.act else 'would '}{step}")
        if not options.act or step == "wait":
            continue
        if step == "warn":
            text = f"all {gpus} GPUs of this job idle; in {options.grace} s it will be asked to save and leave"
            run("scontrol", "notify", job, text)
            log.write("warned", job, facts, gpus)
        elif release(options, job, facts):
            log.write("released", job, facts, gpus, idle_seconds=options.window)
            print(f"job {job}: saved and held; {gpus} GPUs are free")
        else:
            log.write("stayed", job, facts, gpus, state=facts_of(job).get("JobState", ""))
            print(f"job {job}: has not left within {options.patience} s")
    sys.stdout.flush()


def keep(file, body):
    """Adds a message of Alertmanager's to the file; false where it is none, and `trireme report` would refuse it."""
    try:
        message = json.loads(body)
        alerts = message["alerts"] if isinstance(message, dict) else None
        if not isinstance(alerts, list) or not all(isinstance(alert["startsAt"], str) for alert in alerts):
            return False
        line = json.dumps(message, allow_nan=False)
    except (ValueError, KeyError, TypeError):
        return False
    with open(file, "a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    return True


def answer_webhook(options):
    class Webhook(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self):
            # What the message says is kept, but not believed: the look asks Prometheus and Slurm.
            body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 1 << 20))
            kept = not options.alerts or keep(options.alerts, body)
            self.send_response(200 if kept else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()
            try:
                look(options)
            except RuntimeError as error:
                print(f"idle_release.py: {error}", file=sys.stderr)

        def log_message(self, *_):
            pass

    host, _, port = options.listen.rpartition(":")
    ThreadingHTTPServer((host or "127.0.0.1", int(port)), Webhook).serve_forever()


def main():
    options = arguments()
    restrict_file_modes()
    try:
        if options.listen:
            answer_webhook(options)
        else:
            look(options)
    except RuntimeError as error:
        sys.exit(f"idle_release.py: {error}")


if __name__ == "__main__":
    main()
