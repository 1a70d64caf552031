"""Whether what the pods run fits together: options, ports, and the paths that are used and those that are mounted.
tests/jobs/pods_test.sh runs it; this needs neither root nor the program."""
import configparser
import copy
import re

import yaml

from overlays import ROOT, job_of, templates

JOBS = ROOT.parent
# supervise.sh keeps its notes in one, Open MPI and leave.sh theirs in the other; the root file system is read only.
SCRATCH = {"/tmp/any", "/dev/shm/any"}


def read(name):
    return (JOBS / name).read_text()


def paths_of(text):
    return set(re.findall(r"/(?:work|dev/shm)/[\w./-]*\w", text))


def lies_in_image(path):
    """Whether jobs/container/install.sh puts a script of jobs/ there."""
    return path.startswith("/opt/trireme/jobs/") and (JOBS / path.removeprefix("/opt/trireme/jobs/")).is_file()


def launcher_problems(container, keys):
    words = container["command"] + container["args"]
    if not lies_in_image(words[0]) or container.get("workingDir") != "/work":
        yield f"launcher: found {words[0]} in {container.get('workingDir')}"
    options, arguments = words[1:words.index("train")], words[words.index("train") + 1:]
    usage = re.search(r'^usage="(.*?)"', read("supervise.sh"), re.M | re.S)[1]
    for word in options:
        if not re.search(rf"\[?{re.escape(word.partition('=')[0])}=[A-Z]", usage):
            yield f"launcher: supervise.sh has no option {word}"
    if "--hosts=/etc/mpi/hostfile" not in options:  # where the operator writes it
        yield f"launcher: found {options}, expected the operator's host file"
    for word in arguments:
        key = word.removeprefix("--").partition("=")[0]
        if not word.startswith("--") or (key != "config" and keys is not None and key not in keys):
            yield f"launcher: trireme train has no option {word}"
    if not any(word.startswith("--config=/work/run/") for word in arguments):
        yield f"launcher: found {arguments}, expected a --config of the config map"


def port_problems(objects, launcher, worker, template):
    server = worker["command"] + worker["args"]
    if server != ["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/trireme/sshd_config"] or \
            "/etc/trireme/sshd_config" not in read("container/install.sh"):
        yield f"worker: found {server}, expected the image's ssh server in the foreground"
    probe = read("kubernetes/base/probe.sh")
    found = {each["name"]: each["containerPort"] for each in worker["ports"]}
    scraped = [port["port"] for each in objects if each["kind"] == "NetworkPolicy"
               and each["metadata"]["name"] == "scraping" for port in each["spec"]["ingress"][0]["ports"]]
    metrics = {"--monitor.listen": [re.fullmatch(r"--monitor\.listen=0\.0\.0\.0:(\d+)", word)[1]
                                    for word in launcher["args"] if word.startswith("--monitor.listen")],
               "probe.sh": re.findall(r"TRIREME_MONITOR_PORT:-(\d+)", probe), "the network policy": scraped,
               "the annotation": [template["metadata"]["annotations"]["trireme.monitor/port"]]}
    ssh = {"sshd_config": re.findall(r"^Port (\d+)$", read("container/sshd_config"), re.M),
           "probe.sh": re.findall(r"TRIREME_SSH_PORT:-(\d+)", probe),
           "ssh_config": re.findall(r"^\s*Port (\d+)$", read("container/ssh_config"), re.M)}
    for name, ports in (("metrics", metrics), ("ssh", ssh)):
        for where, listed in ports.items():
            if [str(each) for each in listed] != [str(found[name])]:
                yield f"worker: port {name} is {found[name]}, and {where} has {listed}"


def mount_problems(objects, name, pod):
    """What is used below /work is mounted, from the volume that is meant for it; what a config map gives is in it."""
    container = pod["containers"][0]
    maps = {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    files = [text for data in maps.values() for text in data.values()]
    used = SCRATCH.union(*map(paths_of, files), paths_of(yaml.safe_dump(
        [container.get(key) for key in ("command", "args", "livenessProbe", "readinessProbe", "lifecycle")])))
    for path in sorted(used):
        mount = next((mounts[each] for each in mounts if path.startswith(f"{each}/")), None)
        if not mount or mount["name"] not in volumes:
            yield f"{name}: nothing is mounted for {path}"
            continue
        volume = volumes[mount["name"]]
        if "configMap" in volume and path.rpartition("/")[2] not in maps[volume["configMap"]["name"]]:
            yield f"{name}: {path} is not in {volume['configMap']['name']}"
        kind = {"/work/run": "configMap", "/work/data": "data", "/work/checkpoints": "checkpoints"}
        wanted = next((each for start, each in kind.items() if path.startswith(f"{start}/")), "emptyDir")
        if wanted not in volume and volume.get("persistentVolumeClaim", {}).get("claimName") != f"trireme-{wanted}":
            yield f"{name}: {path} lies in {volume}, expected {wanted}"
        if mount.get("readOnly") and wanted not in ("configMap", "data"):
            yield f"{name}: {path} cannot be written"
    for mount in mounts:
        if not any(path.startswith(f"{mount}/") for path in used):
            yield f"{name}: nobody uses {mount}"


def run_problems(objects, keys):
    data = next(each["data"] for each in objects if each["kind"] == "ConfigMap")
    ini = configparser.ConfigParser()
    ini.read_string(data["run.ini"])
    for section in ini.sections():
        for key in ini[section]:
            if keys is not None and f"{section}.{key}" not in keys:
                yield f"run.ini: trireme train has no key {section}.{key}"


def command_problems(objects, keys):
    """`keys`: the options that `trireme train` has, None where there is no program to ask."""
    pods = dict(templates(job_of(objects)))
    launcher, worker = (pods[name]["spec"]["containers"][0] for name in ("Launcher", "Worker"))
    yield from launcher_problems(launcher, keys)
    yield from run_problems(objects, keys)
    yield from port_problems(objects, launcher, worker, pods["Worker"])
    for name, template in pods.items():
        yield from mount_problems(objects, name, template["spec"])


def unnoticed_misspellings(objects, keys):
    """Words, ports and paths of the pods, and keys of run.ini, that may be gone or misspelt and nobody notices."""
    def places(owner):
        for name, template in templates(job_of(owner)):
            container = template["spec"]["containers"][0]
            for key in ("command", "args"):
                for number, word in enumerate(container[key]):
                    yield f"{name}: {word}", container[key], number
            for number, mount in enumerate(container["volumeMounts"]):
                yield f"{name}: mount {mount['mountPath']}", container["volumeMounts"], number
                yield f"{name}: {mount['mountPath']}", mount, "mountPath"
            for port in container.get("ports", []):
                yield f"{name}: port {port['name']}", port, "containerPort"

    def is_noticed(changed):
        try:
            return bool(list(command_problems(changed, keys)))
        except (AttributeError, KeyError, TypeError, ValueError):  # the check ends with an error: that is no silence
            return True

    for number in range(len(list(places(objects)))):
        for how in ("gone", "misspelt in front", "misspelt at the end"):
            changed = copy.deepcopy(objects)
            name, owner, key = list(places(changed))[number]
            if how == "gone":
                del owner[key]
            elif isinstance(owner[key], dict):
                continue
            elif isinstance(owner[key], int):
                owner[key] += 1
            else:
                front, equals, value = owner[key].partition("=")
                owner[key] = f"{front}x{equals}{value}" if how == "misspelt in front" else f"{owner[key]}7"
            if not is_noticed(changed):
                yield f"{name} ({how})"
    text = next(each["data"] for each in objects if each["kind"] == "ConfigMap")["run.ini"]
    for line in re.findall(r"^[a-z\[].*", text, re.M) if keys is not None else ():
        changed = copy.deepcopy(objects)
        next(each["data"] for each in changed if each["kind"] == "ConfigMap")["run.ini"] = text.replace(
            line, line.replace("]", "x]") if "]" in line else f"x{line}")
        if not is_noticed(changed):
            yield f"run.ini: {line} (misspelt)"
