#!/usr/bin/env python3
"""kubernetes.py: builds each overlay of jobs/kubernetes, tests what it gives against the published schemas and against
the guards that jobs/SECURITY.md promises; then removes one guard after the other, and fails where nobody notices.

Ends with 77, saying why, without the packages kubernetes-validate and PyYAML. Kustomize itself is in no package: of its
files this understands the fields that ours use, and refuses any other. MPIJob has no schema in the package: its pod
templates are tested as pods, and its own fields against the list below.
"""
import copy
import pathlib
import sys

try:
    import kubernetes_validate
    import yaml
except ImportError as error:
    print(f"SKIPPED: {error}; pip install kubernetes-validate PyYAML")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2] / "jobs/kubernetes"
SCHEMA = "1.28"
KUSTOMIZATION = {"apiVersion", "kind", "namespace", "resources", "images", "patches", "configMapGenerator",
                 "generatorOptions"}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}
# Fields of kubeflow.org/v2beta1 MPIJobSpec, with what they may hold.
MPI_JOB = {"slotsPerWorker": int, "mpiImplementation": {"OpenMPI"}, "sshAuthMountPath": str, "mpiReplicaSpecs": dict,
           "launcherCreationPolicy": {"AtStartup", "WaitForWorkersReady"}, "runPolicy": dict}
RUN_POLICY = {"cleanPodPolicy": {"None", "Running", "All"}, "backoffLimit": int, "ttlSecondsAfterFinished": int,
              "activeDeadlineSeconds": int, "suspend": bool, "schedulingPolicy": dict, "managedBy": str}
REPLICA = {"replicas": int, "restartPolicy": {"Always", "OnFailure", "Never"}, "template": dict}


def apply_patch(document, operations):
    """JSON patch (RFC 6902): add and replace."""
    for each in operations:
        words = [word.replace("~1", "/").replace("~0", "~") for word in each["path"].split("/")[1:]]
        at = document
        for word in words[:-1]:
            at = at[int(word)] if isinstance(at, list) else at[word]
        if each["op"] not in ("add", "replace") or (each["op"] == "replace" and words[-1] not in at):
            raise ValueError(f"{each['op']} {each['path']}: not possible")
        at[words[-1]] = each["value"]


def build(folder):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(kustomization) - KUSTOMIZATION
    if unknown:
        raise ValueError(f"{folder}: {unknown} is not understood here")
    objects = []
    for name in kustomization["resources"]:
        path = folder / name
        objects += build(path) if path.is_dir() else [each for each in yaml.safe_load_all(path.read_text()) if each]
    for each in kustomization.get("configMapGenerator", []):
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": each["name"]},
                        "data": {name: (folder / name).read_text() for name in each["files"]}})
    for patch in kustomization.get("patches", []):
        hit = [each for each in objects if each["kind"] == patch["target"]["kind"]
               and each["metadata"]["name"] == patch["target"]["name"]]
        if not hit:
            raise ValueError(f"{folder}: nothing is {patch['target']}")
        for each in hit:
            apply_patch(each, yaml.safe_load((folder / patch["path"]).read_text()))
    for image in kustomization.get("images", []):
        for pod in (template["spec"] for job in objects if job["kind"] == "MPIJob" for _, template in templates(job)):
            for container in pod["containers"]:
                if container["image"].rpartition(":")[0] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
    for each in objects:
        if each["kind"] not in CLUSTER_WIDE:
            each["metadata"]["namespace"] = kustomization["namespace"]
    return objects


def templates(job):
    return [(name, replica["template"]) for name, replica in job["spec"]["mpiReplicaSpecs"].items()]


def fields(where, found, allowed):
    for name, value in found.items():
        kind = allowed.get(name)
        if kind is None:
            yield f"{where}.{name}: MPIJob has no such field"
        elif value not in kind if isinstance(kind, set) else not isinstance(value, kind):
            yield f"{where}.{name}: found {value!r}"


def schema_problems(objects):
    for each in objects:
        if each["kind"] != "MPIJob":
            try:
                kubernetes_validate.validate(each, SCHEMA, strict=True)
            except Exception as error:  # pylint: disable=broad-except
                yield f"{each['kind']} {each['metadata']['name']}: {error}"
            continue
        spec = each["spec"]
        yield from fields("spec", spec, MPI_JOB)
        yield from fields("spec.runPolicy", spec["runPolicy"], RUN_POLICY)
        if set(spec["mpiReplicaSpecs"]) != {"Launcher", "Worker"} or spec["mpiReplicaSpecs"]["Launcher"]["replicas"] != 1:
            yield "spec.mpiReplicaSpecs: expected one Launcher, and Worker"
        for name, replica in spec["mpiReplicaSpecs"].items():
            yield from fields(name, replica, REPLICA)
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name.lower()}, "spec": replica["template"]["spec"]}
            try:
                kubernetes_validate.validate(pod, SCHEMA, strict=True)
            except Exception as error:  # pylint: disable=broad-except
                yield f"{name}: {error}"


def guards(objects):
    """Every guard, as (name, whether it holds, how to remove it)."""
    def of(kind):
        return [each for each in objects if each["kind"] == kind]

    def gone(owner, key):
        return lambda: owner.pop(key, None)

    def other(owner, key, value):
        return lambda: owner.__setitem__(key, value)

    for kind in ("NetworkPolicy", "ResourceQuota", "LimitRange", "PriorityClass", "Namespace"):
        yield f"a {kind}", bool(of(kind)), lambda kind=kind: objects.__setitem__(
            slice(None), [each for each in objects if each["kind"] != kind])
    labels = of("Namespace")[0]["metadata"].get("labels", {}) if of("Namespace") else {}
    key = "pod-security.kubernetes.io/enforce"
    yield "restricted pods", labels.get(key) == "restricted", other(labels, key, "privileged")
    if of("ResourceQuota"):
        hard = of("ResourceQuota")[0]["spec"]["hard"]
        for key in ("pods", "requests.nvidia.com/gpu", "limits.memory", "limits.cpu", "requests.storage"):
            yield f"quota of {key}", key in hard, gone(hard, key)
    if of("LimitRange"):
        limit = of("LimitRange")[0]["spec"]["limits"][0]
        for key in ("default", "defaultRequest", "max"):
            yield f"LimitRange {key}", key in limit, gone(limit, key)
    yield from network_guards(of("NetworkPolicy"))
    for name, template in templates(of("MPIJob")[0]):
        yield from pod_guards(name, template, of("PriorityClass"))


def network_guards(policies):
    everything = [each["spec"] for each in policies if each["spec"]["podSelector"] == {}
                  and set(each["spec"]["policyTypes"]) == {"Ingress", "Egress"}
                  and not each["spec"].get("ingress") and not each["spec"].get("egress")]
    yield ("nothing in or out by default", bool(everything),
           lambda: everything[0].__setitem__("ingress", [{}]))
    allowed = {("Ingress", "monitoring"): {9400}, ("Egress", "kube-system"): {53}}
    for policy in policies:
        for direction, peers in (("Ingress", "from"), ("Egress", "to")):
            for rule in policy["spec"].get(direction.lower(), []):
                name = f"{policy['metadata']['name']}, {direction}"
                yield f"{name}: from or to somebody", bool(rule.get(peers)), lambda rule=rule, peers=peers: rule.pop(peers, None)
                for peer in rule.get(peers, []):
                    outside = peer.get("namespaceSelector")
                    if outside is None:
                        yield f"{name}: only our pods", peer == {"podSelector": {"matchLabels": {"app": "trireme"}}}, \
                            lambda peer=peer: peer.update(namespaceSelector={})
                        continue
                    space = outside.get("matchLabels", {}).get("kubernetes.io/metadata.name")
                    ports = {port["port"] for port in rule.get("ports", [])}
                    yield f"{name}: only what is needed of {space}", ports == allowed.get((direction, space)), \
                        lambda rule=rule: rule.pop("ports", None)
                    yield f"{name}: only one name space", space is not None, \
                        lambda outside=outside: outside.pop("matchLabels", None)
                    yield f"{name}: only some pods", bool(peer.get("podSelector", {}).get("matchLabels")), \
                        lambda peer=peer: peer.pop("podSelector", None)


def pod_guards(name, template, classes):
    pod = template["spec"]
    security = pod.get("securityContext", {})
    for key, wanted, bad in (("runAsNonRoot", True, False), ("runAsUser", 10001, 0),
                             ("seccompProfile", {"type": "RuntimeDefault"}, {"type": "Unconfined"})):
        for how, value in (("gone", None), ("bad", bad)):
            yield f"{name}: {key} ({how})", security.get(key) == wanted, \
                lambda key=key, value=value: security.pop(key, None) if value is None else security.update({key: value})
    yield f"{name}: no token of the API", pod.get("automountServiceAccountToken") is False, \
        lambda: pod.pop("automountServiceAccountToken", None)
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        yield f"{name}: no {key}", not pod.get(key), lambda key=key: pod.update({key: True})
    yield f"{name}: no host paths", not any("hostPath" in each for each in pod["volumes"]), \
        lambda: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    yield f"{name}: priority", pod.get("priorityClassName") in [each["metadata"]["name"] for each in classes], \
        lambda: pod.pop("priorityClassName", None)
    yield f"{name}: label that the network policies know", template["metadata"]["labels"].get("app") == "trireme", \
        lambda: template["metadata"]["labels"].pop("app", None)
    claims = {each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each}
    yield f"{name}: volumes of data and checkpoints", {"trireme-data", "trireme-checkpoints"} <= claims, \
        lambda: pod["volumes"].pop(1)
    yield f"{name}: shared memory has a limit", any("sizeLimit" in each.get("emptyDir", {}) for each in pod["volumes"]
                                                  if each.get("emptyDir", {}).get("medium") == "Memory"), \
        lambda: [each["emptyDir"].pop("sizeLimit", None) for each in pod["volumes"] if "emptyDir" in each]
    for container in pod["containers"]:
        yield from container_guards(name, container)


def container_guards(name, container):
    security = container.get("securityContext", {})
    for key, wanted, bad in (("allowPrivilegeEscalation", False, True), ("readOnlyRootFilesystem", True, False),
                             ("capabilities", {"drop": ["ALL"]}, {"drop": ["ALL"], "add": ["SYS_ADMIN"]})):
        for value in (None, bad):
            yield f"{name}: {key} ({'gone' if value is None else 'bad'})", security.get(key) == wanted, \
                lambda key=key, value=value: security.pop(key, None) if value is None else security.update({key: value})
    yield f"{name}: not privileged", not security.get("privileged"), lambda: security.update(privileged=True)
    limits = container.get("resources", {}).get("limits", {})
    for key in ("memory", "cpu"):
        yield f"{name}: limit of {key}", key in limits, lambda key=key: limits.pop(key, None)
    if name == "Worker":
        yield f"{name}: limit of GPUs", "nvidia.com/gpu" in limits, lambda: limits.pop("nvidia.com/gpu", None)
        for key, word in (("livenessProbe", "live"), ("readinessProbe", "ready")):
            yield f"{name}: {key}", word in container.get(key, {}).get("exec", {}).get("command", []), \
                lambda key=key: container.pop(key, None)
    tag = container["image"].rpartition(":")[2]
    yield f"{name}: a tag that stays", tag[:1].isdigit(), lambda: container.update(image="trireme:latest")
    read_only = [each for each in container["volumeMounts"] if each["name"] == "data"]
    yield f"{name}: data cannot be written", all(each.get("readOnly") for each in read_only), \
        lambda: [each.pop("readOnly", None) for each in read_only]


def broken(objects):
    return [name for name, holds, _ in guards(objects) if not holds]


def main():
    failures = []
    for folder in sorted((ROOT / "overlays").iterdir()):
        objects = build(folder)
        failures += [f"{folder.name}: {problem}" for problem in [*schema_problems(objects), *broken(objects)]]
        count = len(list(guards(objects)))
        for number in range(count):
            changed = copy.deepcopy(objects)
            name, _, remove = list(guards(changed))[number]
            remove()
            try:
                noticed = bool(broken(changed))
            except (KeyError, IndexError):
                noticed = True
            if not noticed:
                failures.append(f"{folder.name}: nobody noticed that this guard was removed: {name}")
        print(f"{folder.name}: {len(objects)} objects, {count} guards")
    for text, word in (("  slotsPerWorkers: 1", "no such field"), ("  mpiImplementation: MPICH2", "found")):
        bad = build(ROOT / "overlays/one-gpu")
        job = next(each for each in bad if each["kind"] == "MPIJob")
        job["spec"].update(yaml.safe_load(text))
        if not any(word in problem for problem in schema_problems(bad)):
            failures.append(f"the schema takes {text}")
    bad = build(ROOT / "overlays/one-gpu")
    templates(next(each for each in bad if each["kind"] == "MPIJob"))[0][1]["spec"]["container"] = []
    if not list(schema_problems(bad)):
        failures.append("the schema of pods takes a field that is none")
    print("\n".join(failures))
    return 1 if failures else 0


sys.exit(main())
