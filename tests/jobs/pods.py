#!/usr/bin/env python3
"""pods.py FOLDER: what the pods of jobs/kubernetes find and are told, for pods_test.sh: below FOLDER the folders that
launcher and workers mount below /work, with the files of config maps, and in FOLDER/commands what the manifest has them
run, a word a line. Paths of the pods are those below FOLDER."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "checks/kubernetes"))
from overlays import ROOT, build, job_of, templates  # pylint: disable=wrong-import-position

folder = pathlib.Path(sys.argv[1])
objects = build(ROOT / "overlays/elastic")
pods = {name: template["spec"] for name, template in templates(job_of(objects))}
launcher, worker = (pods[name]["containers"][0] for name in ("Launcher", "Worker"))
maps = {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}


def here(text):
    for theirs, ours in (("/work", "work"), ("/opt/trireme/", "image/"), ("/etc/mpi/", "mpi/")):
        text = text.replace(theirs, f"{folder}/{ours}")
    return text


(folder / "work").mkdir()
for mount in launcher["volumeMounts"]:
    if mount not in worker["volumeMounts"] or not mount["mountPath"].startswith("/work/"):
        continue
    path = pathlib.Path(here(mount["mountPath"]))
    path.mkdir()
    path.chmod(0o755 if mount.get("readOnly") else 0o777)
    volume = next(each for each in pods["Launcher"]["volumes"] if each["name"] == mount["name"])
    for name, text in maps[volume["configMap"]["name"]].items() if "configMap" in volume else ():
        (path / name).write_text(here(text))
        (path / name).chmod(volume["configMap"]["defaultMode"])
(folder / "commands").mkdir()
for name, words in (("launch", launcher["command"] + launcher["args"]),
                    ("ready", worker["readinessProbe"]["exec"]["command"]),
                    ("live", worker["livenessProbe"]["exec"]["command"]),
                    ("leave", worker["lifecycle"]["preStop"]["exec"]["command"])):
    (folder / "commands" / name).write_text("".join(f"{here(word)}\n" for word in words))
