#!/usr/bin/env python3
"""container.py: what jobs/SECURITY.md promises of the image, read off the Dockerfile, the Apptainer definition and the
script that both call. Then one guard after the other is removed from copies of the texts, and the check fails where
nobody notices. What the script does is tested on a real root by tests/jobs/container_test.sh."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2] / "jobs/container"
FILES = ("Dockerfile", "trireme.def", "cuda.args", "install.sh")
PINNED = re.compile(r"[a-z0-9./-]+:\d+(\.\d+)+[a-z0-9.-]*")
BUILD = "SNAPSHOT={0}SNAPSHOT{1} /source/jobs/container/install.sh build /source /opt/trireme {0}CUDA{1}"
RUNTIME = "SNAPSHOT={0}SNAPSHOT{1} /opt/trireme/jobs/container/install.sh runtime /opt/trireme"


def assignments(lines):
    return dict(line.strip().split("=", 1) for line in lines if "=" in line)


def docker_stages(text):
    """[instructions before the first FROM, stage, stage...], each a list of (instruction, what follows)."""
    stages = [[]]
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            if name.upper() == "FROM":
                stages.append([])
            stages[-1].append((name.upper(), " ".join(rest.split())))
    return stages


def all_of(stage, *names):
    return [rest for name, rest in stage if name in names]


def docker_problems(text):
    head, *stages = docker_stages(text)
    arguments = assignments(all_of(head, "ARG"))
    if [stage[0][1] for stage in stages] != ["${BUILD_BASE} AS build", "${BASE} AS final"]:
        yield "expected a stage that builds, and a final one on a base of its own"
        return
    build, final = stages
    for stage, wanted in ((build, BUILD), (final, RUNTIME)):
        if all_of(stage, "RUN", "ADD", "SHELL", "ONBUILD") != [wanted.format("$", "")]:
            yield f"expected one RUN, of install.sh, found {all_of(stage, 'RUN', 'ADD', 'SHELL', 'ONBUILD')}"
        arguments.update(assignments(all_of(stage, "ARG")))
    if all_of(final, "COPY") != ["--from=build /opt/trireme /opt/trireme"]:
        yield f"the final stage takes more than the program of the build: {all_of(final, 'COPY')}"
    users = all_of(final, "USER")
    if len(users) != 1 or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[0]):
        yield f"expected a user by number who is not root, found {users}"
    elif [name for name, _ in final].index("USER") < [name for name, _ in final].index("RUN"):
        yield "the user is set before what must be root"
    if all_of(final, "ENTRYPOINT") != ['["/opt/trireme/jobs/mpirun.sh"]']:
        yield f"another entry point: {all_of(final, 'ENTRYPOINT')}"
    yield from argument_problems(arguments)


def definition_sections(text):
    """[(stage header, {section: lines})...]"""
    stages = []
    for line in text.splitlines():
        if line.startswith("Bootstrap:"):
            stages.append(({}, {}))
            section = None
        if line.startswith("%"):
            section = line
            stages[-1][1][section] = []
        elif stages and line.strip() and not line.startswith("#"):
            if section is None:
                name, _, rest = line.partition(": ")
                stages[-1][0][name] = rest
            else:
                stages[-1][1][section].append(line.strip())
    return stages


def definition_problems(text):
    stages = definition_sections(text)
    if [(head["From"], head["Stage"]) for head, _ in stages] != [("{{ BUILD_BASE }}", "build"), ("{{ BASE }}", "final")]:
        yield "expected a stage that builds, and a final one on a base of its own"
        return
    (_, build), (_, final) = stages
    for sections, wanted in ((build, BUILD), (final, RUNTIME)):
        if sections.get("%post") != [wanted.format("{{ ", " }}")] or "%setup" in sections:
            yield f"expected one command in %post, of install.sh, found {sections.get('%post')}"
    if final.get("%files from build") != ["/opt/trireme /opt/trireme"] or "%files" in final:
        yield "the final stage takes more than the program of the build"
    yield from argument_problems(assignments(build.get("%arguments", [])))


def argument_problems(arguments):
    for name in ("BUILD_BASE", "BASE"):
        if not PINNED.fullmatch(arguments.get(name, "")):
            yield f"{name}: found {arguments.get(name)}, expected an image with its version"
    if not re.fullmatch(r"\d{8}T\d{6}Z", arguments.get("SNAPSHOT", "")):
        yield f"SNAPSHOT: found {arguments.get('SNAPSHOT')}, expected a day of the archive"
    if arguments.get("CUDA") not in ("on", "off"):
        yield f"CUDA: found {arguments.get('CUDA')}"


def variant_problems(texts):
    """The two files make the same images, of the same packages, and the CUDA variant has its compiler in one stage."""
    docker = {}
    for stage in docker_stages(texts["Dockerfile"]):
        docker.update(assignments(all_of(stage, "ARG")))
    sections = definition_sections(texts["trireme.def"])
    apptainer = assignments(sections[0][1].get("%arguments", [])) if sections else {}
    if docker != apptainer:
        yield f"the Dockerfile has {docker}, and trireme.def {apptainer}"
    days = re.findall(r"^ARG SNAPSHOT=(.*)", texts["Dockerfile"], re.M)
    if len(days) != 2 or len(set(days)) != 1:
        yield f"the stages are of several days: {days}"
    cuda = assignments(texts["cuda.args"].splitlines())
    if set(cuda) != {"BUILD_BASE", "BASE", "CUDA"} or cuda["CUDA"] != "on":
        yield f"cuda.args: found {cuda}"
        return
    yield from argument_problems({**docker, **cuda})
    if "-devel-" not in cuda["BUILD_BASE"] or "-runtime-" not in cuda["BASE"] or \
            cuda["BASE"].split(":")[1].split("-")[0] != cuda["BUILD_BASE"].split(":")[1].split("-")[0]:
        yield f"cuda.args: found {cuda}, expected NVIDIA's images of one version, with the compiler to build on only"


def script_problems(text):
    functions = dict(re.findall(r"^(\w+)\(\) \{\n(.*?)^\}", text, re.M | re.S))
    runtime, collect = functions["runtime"], functions["packages_of"]
    for what, where, wanted in (
            ("the versions that were built with", collect, r"-W -f='\$\{Package\}=\$\{Version\}\\n'"),
            ("a day of the archive for the build", functions["build"], r"^  use_snapshot$"),
            ("a day of the archive for the image", runtime, r"^  use_snapshot$"),
            ("those versions and no more", runtime, r"--no-install-recommends .*<\"\$tree/packages\""),
            ("no set-uid files", runtime, r"^  find / -xdev -type f -perm /6000 -exec chmod a-s \{\} \+$"),
            ("no compiler", runtime, r"for tool in cc c\+\+ gcc g\+\+ .* nvcc; do\n    ! command -v .* \|\| fail "),
            ("no host keys", runtime, r"rm -rf .*/etc/ssh/ssh_host_\*"),
            ("a user", runtime, r"^  make_user "),
            ("user 10001", functions["make_user"], r"useradd --uid 10001 --gid 10001"),
            ("no password", functions["make_user"], r"usermod --password '\*' trireme")):
        if not re.search(wanted, where, re.M):
            yield f"install.sh: found no sign of: {what}"
    if "jobs/install.sh" in runtime:
        yield "install.sh: the final stage installs what builds"


def problems(texts):
    try:
        return [*docker_problems(texts["Dockerfile"]), *definition_problems(texts["trireme.def"]),
                *variant_problems(texts), *script_problems(texts["install.sh"])]
    except (KeyError, ValueError, IndexError) as error:
        return [f"not understood: {error!r}"]


# What must not go unnoticed: (file, pattern, replacement).
REMOVALS = [
    ("Dockerfile", r"^USER .*\n", ""),
    ("Dockerfile", r"^USER .*", "USER 0:0"),
    ("Dockerfile", r"^USER .*", "USER root"),
    ("Dockerfile", r"\Z", "USER root\n"),
    ("Dockerfile", r"\Z", "RUN apt-get install -y g++\n"),
    ("Dockerfile", r"^COPY --from=build .*", r"COPY --from=build / /"),
    ("Dockerfile", r"^COPY --from=build .*", r"\g<0>\nCOPY . /source"),
    ("Dockerfile", r"^FROM \$\{BASE\} AS final", "FROM ${BUILD_BASE} AS final"),
    ("Dockerfile", r"^FROM \$\{BASE\} AS final", "FROM build AS final"),
    ("Dockerfile", r"^FROM \$\{BASE\} AS final\n", ""),
    ("Dockerfile", r"debian:12\.12-slim", "debian:latest"),
    ("Dockerfile", r"debian:12\.12-slim", "debian"),
    ("Dockerfile", r"^ARG SNAPSHOT=\w+", "ARG SNAPSHOT="),
    ("Dockerfile", r"SNAPSHOT=\$SNAPSHOT ", ""),
    ("Dockerfile", r"install.sh runtime", "other.sh runtime"),
    ("Dockerfile", r"20251115", "20251116"),
    ("Dockerfile", r"^ARG CUDA=off\n", ""),
    ("trireme.def", r"^From: \{\{ BASE \}\}", "From: {{ BUILD_BASE }}"),
    ("trireme.def", r"BASE=debian:12\.12-slim", "BASE=debian:stable"),
    ("trireme.def", r"    SNAPSHOT=2.*\n", ""),
    ("trireme.def", r"SNAPSHOT=2\w+", "SNAPSHOT=20200101T000000Z"),
    ("trireme.def", r"install.sh runtime .*", r"\g<0>\n    apt-get install -y g++"),
    ("trireme.def", r"^%files from build\n.*", "%files from build\n    / /"),
    ("cuda.args", r"-cudnn-runtime-", "-cudnn-devel-"),
    ("cuda.args", r":12\.6\.3-", ":latest-"),
    ("cuda.args", r"^CUDA=on\n", ""),
    ("install.sh", r"=\$\{Version\}", ""),
    ("install.sh", r"^  use_snapshot\n", ""),
    ("install.sh", r"^  find / -xdev.*\n", ""),
    ("install.sh", r"-perm /6000", "-perm /0001"),
    ("install.sh", r"\|\| fail \"the image has", "|| echo \"the image has"),
    ("install.sh", r" /etc/ssh/ssh_host_\*", ""),
    ("install.sh", r"^  make_user .*\n", ""),
    ("install.sh", r"--uid 10001", "--uid 0"),
    ("install.sh", r"^  usermod .*\n", ""),
    ("install.sh", r"^  apt-get clean\n", '  "$tree/jobs/install.sh"\n'),
]


def main():
    texts = {name: (ROOT / name).read_text() for name in FILES}
    failures = problems(texts)
    for name, pattern, replacement in REMOVALS:
        places = list(re.finditer(pattern, texts[name], re.M))
        if not places:
            failures.append(f"{name}: found nothing to remove like {pattern}")
        for place in places:  # one at a time
            changed = texts[name][:place.start()] + place.expand(replacement) + texts[name][place.end():]
            if not problems({**texts, name: changed}):
                failures.append(f"{name}: nobody noticed '{place.group()}' become '{place.expand(replacement)}'")
    print("\n".join(failures) or f"{len(REMOVALS)} ways to make the image worse are noticed")
    return 1 if failures else 0


sys.exit(main())
