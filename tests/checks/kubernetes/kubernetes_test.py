#!/usr/bin/env python3
"""kubernetes_test.py guards | commands | scraping | schemas | kustomize [TRIREME]: jobs/kubernetes without a cluster.

guards     each overlay keeps the guards that jobs/SECURITY.md promises. Then one guard after the other is removed, and
           besides every key of what guards: the check fails where nobody notices.
commands   what the pods run, and run.ini, fit mounts, ports, scripts, and the options of TRIREME, if it is given. A
           word, path or port that is misspelt or gone is noticed.
scraping   the Prometheus of jobs/monitoring finds the workers of each overlay, and board and data source agree.
schemas    the objects fit the schemas that Kubernetes publishes (PyPI's kubernetes-validate; without it the check ends
           with 77, saying so). MPIJob has none there: its pod templates are tested as pods.
kustomize  `kubectl kustomize` makes of each overlay what build() does, which knows no more of kustomize than our files
           use. Ends with 77 without kubectl.
"""
import json
import re
import shutil
import subprocess
import sys

import yaml

sys.dont_write_bytecode = True  # leaves nothing among the sources
from commands import command_problems, unnoticed_misspellings
from guards import broken, guarded_parts, guards, unnoticed_removals
from overlays import ROOT, build, job_of, overlays, templates
from scraping import board_problems, config_problems, pod_problems, rules_of_pods, unnoticed_changes

SCHEMA = "1.28"
# Fields of kubeflow.org/v2beta1 MPIJob, with what they may hold: the resource definition and the validation of
# mpi-operator 0.8.2 (manifests/base/kubeflow.org_mpijobs.yaml, pkg/apis/kubeflow/validation).
MPI_JOB = {"slotsPerWorker": int, "runLauncherAsWorker": bool, "mpiImplementation": {"OpenMPI", "Intel", "MPICH"},
           "sshAuthMountPath": str, "launcherCreationPolicy": {"AtStartup", "WaitForWorkersReady"},
           "mpiReplicaSpecs": dict, "runPolicy": dict}
RUN_POLICY = {"cleanPodPolicy": {"None", "Running", "All"}, "backoffLimit": int, "ttlSecondsAfterFinished": int,
              "activeDeadlineSeconds": int, "suspend": bool, "schedulingPolicy": dict,
              "managedBy": {"kueue.x-k8s.io/multikueue", "kubeflow.org/mpi-operator"}}
REPLICA = {"replicas": int, "restartPolicy": {"OnFailure", "Never"}, "template": dict}


def check_kustomize():
    if not shutil.which("kubectl"):
        print("SKIPPED: found no kubectl")
        return 77
    failures = []
    for folder in overlays():
        text = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True).stdout
        theirs, ours = ({json.dumps([each["kind"], each["metadata"]["name"]]): each for each in objects}
                        for objects in (yaml.safe_load_all(text), build(folder)))
        failures += [f"{folder.name}: {name}: kubectl makes\n{theirs.get(name)}\nand we\n{ours.get(name)}"
                     for name in sorted(theirs.keys() | ours.keys()) if theirs.get(name) != ours.get(name)]
    return report(failures)


def fields(where, found, allowed):
    for name, value in found.items():
        kind = allowed.get(name)
        if kind is None:
            yield f"{where}.{name}: MPIJob has no such field"
        elif value not in kind if isinstance(kind, set) else not isinstance(value, kind):
            yield f"{where}.{name}: found {value!r}"


def job_problems(job):
    spec = job["spec"]
    yield from fields("spec", spec, MPI_JOB)
    yield from fields("spec.runPolicy", spec["runPolicy"], RUN_POLICY)
    if set(spec["mpiReplicaSpecs"]) != {"Launcher", "Worker"} or spec["mpiReplicaSpecs"]["Launcher"]["replicas"] != 1:
        yield "spec.mpiReplicaSpecs: expected one Launcher, and Worker"
    for name, replica in spec["mpiReplicaSpecs"].items():
        yield from fields(name, replica, REPLICA)
    home = "/home/trireme/"
    if not spec["sshAuthMountPath"].startswith(home):
        yield f"spec.sshAuthMountPath: found {spec['sshAuthMountPath']}, but the image's ssh looks below {home}"


def check_schemas():
    try:
        import kubernetes_validate  # pylint: disable=import-outside-toplevel
    except ImportError as error:
        print(f"SKIPPED: {error}; pip install kubernetes-validate PyYAML")
        return 77

    def problems(objects):
        for each in objects:
            pods = [(f"{each['kind']} {each['metadata']['name']}", each)]
            if each["kind"] == "MPIJob":
                pods = [(name, {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
                                "metadata": {"name": name.lower(), **template["metadata"]}})
                        for name, template in templates(each)]
            for name, pod in pods:
                try:
                    kubernetes_validate.validate(pod, SCHEMA, strict=True)
                except Exception as error:  # pylint: disable=broad-except
                    yield f"{name}: {error}"

    failures = [f"{folder.name}: {problem}" for folder in overlays() for problem in problems(build(folder))]
    bad = build(ROOT / "overlays/one-gpu")
    templates(job_of(bad))[0][1]["spec"]["container"] = []
    if not list(problems(bad)):
        failures.append("the schema of pods takes a field that is none")
    return report(failures)


def check_guards():
    failures = []
    for folder in overlays():
        objects = build(folder)
        failures += [f"{folder.name}: {problem}" for problem in [*job_problems(job_of(objects)), *broken(objects)]]
        failures += [f"{folder.name}: nobody noticed that this was removed: {name}"
                     for name in unnoticed_removals(objects)]
        print(f"{folder.name}: {len(objects)} objects, {len(list(guards(objects)))} guards, "
              f"{len(list(guarded_parts(objects)))} parts of them")
    for key, value in (("slotsPerWorkers", 1), ("mpiImplementation", "mpich"), ("sshAuthMountPath", "/root/.ssh")):
        job = job_of(build(ROOT / "overlays/one-gpu"))
        job["spec"][key] = value
        if not list(job_problems(job)):
            failures.append(f"MPIJob takes {key}: {value}")
    return report(failures)


def check_commands():
    keys = None
    if len(sys.argv) > 2:
        text = subprocess.run([sys.argv[2], "train", "--help"], check=True, capture_output=True, text=True).stdout
        keys = set(re.findall(r"^ +--([a-z0-9_.]+) ", text, re.M))
    failures = []
    for folder in overlays():
        objects = build(folder)
        failures += [f"{folder.name}: {problem}" for problem in command_problems(objects, keys)]
        failures += [f"{folder.name}: nobody noticed: {change}" for change in unnoticed_misspellings(objects, keys)]
    return report(failures)


def check_scraping():
    failures = [*board_problems(), *config_problems()]
    for folder in overlays():
        objects = build(folder)
        failures += [f"{folder.name}: {problem}" for problem in pod_problems(rules_of_pods(), objects)]
        failures += [f"{folder.name}: nobody noticed: {change}" for change in unnoticed_changes(objects)]
    return report(failures)


def report(failures):
    print("\n".join(failures))
    return 1 if failures else 0


CHECKS = {"guards": check_guards, "commands": check_commands, "scraping": check_scraping, "schemas": check_schemas,
          "kustomize": check_kustomize}
if len(sys.argv) not in (2, 3) or sys.argv[1] not in CHECKS:
    print(f"kubernetes_test.py: expected one of {', '.join(CHECKS)}, found {' '.join(sys.argv[1:]) or 'nothing'}")
    sys.exit(2)
sys.exit(CHECKS[sys.argv[1]]())
