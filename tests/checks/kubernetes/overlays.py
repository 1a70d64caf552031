"""What kustomize makes of the overlays of jobs/kubernetes, as far as their files use kustomize."""
import pathlib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3] / "jobs/kubernetes"
KUSTOMIZATION = {"apiVersion", "kind", "namespace", "resources", "images", "patches", "configMapGenerator",
                 "generatorOptions"}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}


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
        for container in (container for _, template in templates(job_of(objects))
                          for container in template["spec"]["containers"]):
            if container["image"].rpartition(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    for each in objects:
        if each["kind"] not in CLUSTER_WIDE:
            each["metadata"]["namespace"] = kustomization["namespace"]
    return objects


def overlays():
    return sorted((ROOT / "overlays").iterdir())


def job_of(objects):
    return next(each for each in objects if each["kind"] == "MPIJob")


def templates(job):
    return [(name, replica["template"]) for name, replica in job["spec"]["mpiReplicaSpecs"].items()]
