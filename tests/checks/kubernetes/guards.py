"""What guards a run on Kubernetes: each guard with how to remove it, and what nobody notices the removal of."""
import copy

from overlays import job_of, templates


def guards(objects):
    """Every guard: (name, whether it holds, how to remove it)."""
    def of(kind):
        return [each for each in objects if each["kind"] == kind]

    def gone(owner, key):
        return lambda: owner.pop(key, None)

    for kind in ("NetworkPolicy", "ResourceQuota", "LimitRange", "PriorityClass", "Namespace"):
        yield f"a {kind}", bool(of(kind)), lambda kind=kind: objects.__setitem__(
            slice(None), [each for each in objects if each["kind"] != kind])
    for space in of("Namespace"):
        labels = space["metadata"].get("labels", {})
        for mode in ("enforce", "warn"):
            key = f"pod-security.kubernetes.io/{mode}"
            yield f"restricted pods ({mode})", labels.get(key) == "restricted", \
                lambda labels=labels, key=key: labels.update({key: "privileged"})
    for quota in of("ResourceQuota"):
        hard = quota["spec"].get("hard", {})
        for key in ("pods", "requests.nvidia.com/gpu", "requests.memory", "limits.memory", "requests.cpu", "limits.cpu",
                    "requests.storage", "persistentvolumeclaims"):
            yield f"quota of {key}", key in hard, gone(hard, key)
    for limits in of("LimitRange"):
        limit = limits["spec"].get("limits", [{}])[0]
        for key in ("default", "defaultRequest", "max"):
            for resource in ("cpu", "memory", *(["nvidia.com/gpu"] if key == "max" else [])):
                yield f"LimitRange {key} of {resource}", limit.get("type") == "Container" and \
                    resource in limit.get(key, {}), gone(limit.get(key, {}), resource)
    for priority in of("PriorityClass"):
        yield "training puts nobody aside", priority.get("preemptionPolicy") == "Never", \
            lambda priority=priority: priority.update(preemptionPolicy="PreemptLowerPriority")
        yield "only training has its priority", priority.get("globalDefault") is False and "value" in priority, \
            lambda priority=priority: priority.update(globalDefault=True)
    yield from network_guards(of("NetworkPolicy"))
    for name, template in templates(job_of(objects)):
        yield from pod_guards(name, template, of("PriorityClass"))


OURS = {"podSelector": {"matchLabels": {"app": "trireme"}}}
# Who may reach whom, with (protocol, port), or None for all; and nobody else anybody. Of a policy's name.
TRAFFIC = {
    "nothing-else": ({}, {}),
    "within-a-run": ({"ingress": [(OURS, None)], "egress": [(OURS, None)]}, OURS["podSelector"]),
    "names": ({"egress": [({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}, {("UDP", 53), ("TCP", 53)})]},
              OURS["podSelector"]),
    "scraping": ({"ingress": [({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
                                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}},
                               {("TCP", 9400)})]}, OURS["podSelector"]),
}


def network_guards(policies):
    found = {each["metadata"]["name"]: each["spec"] for each in policies}
    yield "no other traffic", set(found) <= set(TRAFFIC), lambda: policies[0]["metadata"].update(name="another")
    for name, (wanted, pods) in TRAFFIC.items():
        spec = found.get(name, {})
        directions = {"Ingress", "Egress"} if name == "nothing-else" else {each.capitalize() for each in wanted}
        yield f"{name}: of {pods or 'all pods'}", spec.get("podSelector") == pods, \
            lambda spec=spec: spec.update(podSelector={"matchLabels": {"app": "another"}})
        yield f"{name}: {directions}", set(spec.get("policyTypes", [])) == directions, \
            lambda spec=spec: spec.update(policyTypes=[])
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            rules = [(rule.get(peers), {(port["protocol"], port["port"]) for port in rule.get("ports", [])} or None)
                     for rule in spec.get(direction, [])]
            yield f"{name}: {direction}", rules == [([peer], ports) for peer, ports in wanted.get(direction, [])], \
                lambda spec=spec, direction=direction: spec.update({direction: [{}]})


def pod_guards(name, template, classes):
    pod = template["spec"]
    security = pod.get("securityContext", {})
    for key, wanted, bad in (("runAsNonRoot", True, False), ("runAsUser", 10001, 0), ("runAsGroup", 10001, 0),
                             ("fsGroup", 10001, 0),
                             ("seccompProfile", {"type": "RuntimeDefault"}, {"type": "Unconfined"})):
        for how, value in (("gone", None), ("bad", bad)):
            yield f"{name}: {key} ({how})", security.get(key) == wanted, \
                lambda key=key, value=value: security.pop(key, None) if value is None else security.update({key: value})
    for key in ("automountServiceAccountToken", "enableServiceLinks"):
        yield f"{name}: {key}", pod.get(key) is False, lambda key=key: pod.pop(key, None)
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        yield f"{name}: no {key}", not pod.get(key), lambda key=key: pod.update({key: True})
    volumes = {each["name"]: each for each in pod.get("volumes", [])}
    yield f"{name}: no host paths", not any("hostPath" in each for each in volumes.values()), \
        lambda: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    yield f"{name}: priority", pod.get("priorityClassName") in [each["metadata"]["name"] for each in classes], \
        lambda: pod.pop("priorityClassName", None)
    yield f"{name}: label that the network policies know", template["metadata"]["labels"].get("app") == "trireme", \
        lambda: template["metadata"]["labels"].pop("app", None)
    yield f"{name}: time to save", pod.get("terminationGracePeriodSeconds", 0) >= 60, \
        lambda: pod.pop("terminationGracePeriodSeconds", None)
    yield f"{name}: volume of data, read only", volumes.get("data", {}).get("persistentVolumeClaim") == \
        {"claimName": "trireme-data", "readOnly": True}, lambda: volumes["data"]["persistentVolumeClaim"].pop("readOnly")
    yield f"{name}: volume of checkpoints", volumes.get("checkpoints", {}).get("persistentVolumeClaim") == \
        {"claimName": "trireme-checkpoints"}, lambda: volumes["checkpoints"].pop("persistentVolumeClaim")
    for volume in ("scratch", "shared-memory"):
        yield f"{name}: {volume} has a limit", "sizeLimit" in volumes.get(volume, {}).get("emptyDir", {}), \
            lambda volume=volume: volumes[volume]["emptyDir"].pop("sizeLimit", None)
    yield f"{name}: shared memory is memory", volumes.get("shared-memory", {}).get("emptyDir", {}).get("medium") == \
        "Memory", lambda: volumes["shared-memory"]["emptyDir"].pop("medium")
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
    resources = container.get("resources", {})
    for kind in ("requests", "limits"):
        for key in ("memory", "cpu"):
            yield f"{name}: {kind} of {key}", key in resources.get(kind, {}), \
                lambda kind=kind, key=key: resources[kind].pop(key, None)
    if name == "Worker":
        limits = resources.get("limits", {})
        yield f"{name}: limit of GPUs", "nvidia.com/gpu" in limits, lambda: limits.pop("nvidia.com/gpu", None)
        for key, word in (("livenessProbe", "live"), ("readinessProbe", "ready")):
            yield f"{name}: {key}", container.get(key, {}).get("exec") == {"command": ["/work/run/probe.sh", word]}, \
                lambda key=key: container.pop(key, None)
        yield f"{name}: saves before it goes", container.get("lifecycle") == \
            {"preStop": {"exec": {"command": ["/work/run/leave.sh"]}}}, lambda: container.pop("lifecycle", None)
    tag = container["image"].rpartition(":")[2]
    yield f"{name}: a tag that stays", tag[:1].isdigit(), lambda: container.update(image="trireme:latest")
    mounts = {each["name"]: each for each in container["volumeMounts"]}
    for volume in ("data", "run"):
        yield f"{name}: {volume} cannot be written", mounts.get(volume, {}).get("readOnly") is True, \
            lambda volume=volume: mounts[volume].pop("readOnly", None)


# Keys of what guards that may be another, or not there, without harm.
TUNED = {"terminationGracePeriodSeconds", "fsGroupChangePolicy", "periodSeconds", "timeoutSeconds", "failureThreshold",
         "initialDelaySeconds"}


def guarded_parts(objects):
    """(name, owner, key) of every key and every element of what guards."""
    def below(name, owner):
        for key in list(owner if isinstance(owner, dict) else range(len(owner))):
            if key in TUNED:
                continue
            yield f"{name}.{key}", owner, key
            if isinstance(owner[key], (dict, list)):
                yield from below(f"{name}.{key}", owner[key])

    for each in objects:
        if each["kind"] in ("NetworkPolicy", "ResourceQuota", "LimitRange"):
            yield from below(f"{each['kind']} {each['metadata']['name']}", each["spec"])
    for name, template in templates(job_of(objects)):
        pod = template["spec"]
        yield from below(f"{name} securityContext", pod["securityContext"])
        for container in pod["containers"]:
            for key in ("securityContext", "resources", "livenessProbe", "readinessProbe", "lifecycle"):
                yield from below(f"{name} {key}", container.get(key, {}))


def broken(objects):
    return [name for name, holds, _ in guards(objects) if not holds]


def is_noticed(objects):
    try:
        return bool(broken(objects))
    except (KeyError, IndexError, StopIteration):  # the check ends with an error: that is no silence
        return True


def unnoticed_removals(objects):
    for number in range(len(list(guards(objects)))):
        changed = copy.deepcopy(objects)
        name, _, remove = list(guards(changed))[number]
        remove()
        if not is_noticed(changed):
            yield name
    for number in range(len(list(guarded_parts(objects)))):
        changed = copy.deepcopy(objects)
        name, owner, key = list(guarded_parts(changed))[number]
        del owner[key]
        if not is_noticed(changed):
            yield name
