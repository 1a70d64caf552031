"""Whether jobs/monitoring fits together, and finds our pods: prometheus-kubernetes.yml is applied to them as Prometheus
does it."""
import copy
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import yaml

from overlays import job_of, templates

MONITORING = pathlib.Path(__file__).resolve().parents[3] / "jobs/monitoring"


def rules_of_pods():
    config = yaml.safe_load((MONITORING / "prometheus-kubernetes.yml").read_text())
    return next(each for each in config["scrape_configs"] if "kubernetes_sd_configs" in each)["relabel_configs"]


def target_of(rules, template, namespace, phase="Running"):
    """The labels of the target that a pod becomes; None where it is not scraped."""
    labels = {"__address__": "10.0.0.7:2222", "__meta_kubernetes_namespace": namespace,
              "__meta_kubernetes_pod_ip": "10.0.0.7", "__meta_kubernetes_pod_name": "trireme-worker-0",
              "__meta_kubernetes_pod_node_name": "node7", "__meta_kubernetes_pod_phase": phase}
    for kind in ("label", "annotation"):
        for key, value in template["metadata"].get(f"{kind}s", {}).items():
            labels[f"__meta_kubernetes_pod_{kind}_{re.sub('[^a-zA-Z0-9_]', '_', key)}"] = value
    for rule in rules:
        unknown = set(rule) - {"source_labels", "regex", "action", "target_label", "replacement"}
        if unknown or rule.get("action", "replace") not in ("keep", "replace"):
            raise ValueError(f"{rule} is not understood here")
        value = ";".join(labels.get(each, "") for each in rule["source_labels"])
        hit = re.fullmatch(rule.get("regex", "(.*)"), value)
        if rule.get("action") == "keep":
            if not hit:
                return None
        elif hit:
            labels[rule["target_label"]] = hit.expand(re.sub(r"\$(\d)", r"\\\1", rule.get("replacement", "$1")))
    return {key: value for key, value in labels.items() if value and not key.startswith("__meta_")}


def pod_problems(rules, objects):
    """Each worker is a target on the port that its ranks serve, with the labels that rules and board go by; the
    launcher, in which no rank runs, is none."""
    job = job_of(objects)
    pods = dict(templates(job))
    namespace = job["metadata"]["namespace"]
    if target_of(rules, pods["Launcher"], namespace):
        yield "the launcher is scraped, and nothing listens there"
    worker = pods["Worker"]
    ports = {each["name"]: each["containerPort"] for each in worker["spec"]["containers"][0]["ports"]}
    wanted = {"__address__": f"10.0.0.7:{ports['metrics']}", "run": job["metadata"]["name"], "user": namespace,
              "node": "node7", "instance": "trireme-worker-0"}
    found = target_of(rules, worker, namespace)
    if found != wanted:
        yield f"a worker is the target {found}, expected {wanted}"
    if target_of(rules, worker, namespace, "Pending"):
        yield "a worker is scraped that does not run yet"
    for kind, key in (("labels", "trireme.run"), ("annotations", "trireme.monitor/port")):
        other = copy.deepcopy(worker)
        other["metadata"][kind].pop(key)
        if target_of(rules, other, namespace):
            yield f"a pod is scraped that has no {key}"
    other = copy.deepcopy(worker)
    other["metadata"]["labels"]["trireme.user"] = "ada"
    if target_of(rules, other, namespace) != {**wanted, "user": "ada"}:
        yield "the label trireme.user does not tell the user"


def unnoticed_changes(objects):
    """What of the rules and of the pods' labels may go, or be another, without that anybody notices."""
    def is_noticed(rules, changed):
        try:
            return bool(list(pod_problems(rules, changed)))
        except (KeyError, TypeError, ValueError):  # the check ends with an error: that is no silence
            return True

    rules = rules_of_pods()
    for number, rule in enumerate(rules):
        if not is_noticed(rules[:number] + rules[number + 1:], objects):
            yield f"{rule} (gone)"
    metadata = dict(templates(job_of(objects)))["Worker"]["metadata"]
    for kind, key in (("labels", "trireme.run"), ("annotations", "trireme.monitor/port")):
        for value in (None, "", "9401", 9400):
            changed = copy.deepcopy(objects)
            owner = dict(templates(job_of(changed)))["Worker"]["metadata"][kind]
            owner.pop(key) if value is None else owner.update({key: value})
            if not is_noticed(rules, changed):
                yield f"{key}: {value} in place of {metadata[kind][key]}"


def data_sources(owner):
    """The `uid` of each `datasource` below."""
    if isinstance(owner, dict):
        if isinstance(owner.get("datasource"), dict):
            yield owner["datasource"]["uid"]
    for each in owner.values() if isinstance(owner, dict) else owner if isinstance(owner, list) else []:
        yield from data_sources(each)


def board_problems():
    grafana = MONITORING / "grafana"
    provided = {each["uid"] for path in (grafana / "provisioning/datasources").iterdir()
                for each in yaml.safe_load(path.read_text())["datasources"]}
    used = {each for path in grafana.glob("*.json") for each in data_sources(json.loads(path.read_text()))}
    if not used or not used - {"-- Grafana --"} <= provided:
        yield f"the board asks the data sources {used}, and provisioning has {provided}"
    for path in (grafana / "provisioning/dashboards").iterdir():
        for each in yaml.safe_load(path.read_text())["providers"]:
            if each["type"] != "file" or each["options"]["path"] != "$TRIREME_BOARDS":
                yield f"{path.name}: found {each}, expected files at $TRIREME_BOARDS"


def config_problems():
    """What promtool says of prometheus-kubernetes.yml. Debian's knows no Kubernetes: it sees a list of hosts."""
    if not shutil.which("promtool"):
        print("found no promtool: the head of prometheus-kubernetes.yml is not checked")
        return
    with tempfile.TemporaryDirectory() as folder:
        copied = shutil.copytree(MONITORING, pathlib.Path(folder) / "monitoring")
        path = copied / "prometheus-kubernetes.yml"
        config = yaml.safe_load(path.read_text())
        for each in config["scrape_configs"]:
            if each.pop("kubernetes_sd_configs", None):
                each["static_configs"] = [{"targets": ["127.0.0.1:9400"]}]
        if not config.get("alerting", {}).get("alertmanagers"):
            yield "prometheus-kubernetes.yml: nobody is told of alerts"
        for spoilt in (False, True):
            if spoilt:
                config["rule_files"] = ["rule.yml"]
            path.write_text(yaml.safe_dump(config))
            done = subprocess.run(["promtool", "check", "config", path], capture_output=True, text=True, check=False)
            if (done.returncode != 0) != spoilt or not ("rules found" in done.stdout) != spoilt:
                yield f"promtool{', of rules that are not there' if spoilt else ''}: {done.stdout}{done.stderr}"
