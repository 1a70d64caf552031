#!/usr/bin/env python3
"""pipeline.py check | run [PARAMETER=VALUE...]: jobs/ci/Jenkinsfile without Jenkins, read by Groovy, as Jenkins does.

check   the stages call the scripts of jobs/ci, each script is called, nothing else is done, and every parameter reaches
        a script. Then the pipeline is changed in ways that break this, and the check fails where nobody notices.
run     does what Jenkins would do on this machine: the stages, one after the other, with the parameters' defaults or the
        values given. WORKSPACE (this folder) and BUILD_NUMBER (1) come from the environment.

Ends with 77, saying so, without Groovy.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
JENKINSFILE = ROOT / "jobs/ci/Jenkinsfile"
STAGES = {"Test": "test", "Train": "train", "Evaluate": "evaluate", "Publish": "publish"}
NEEDED = {"IMAGE_TAG", "CONFIGURATION"}


class Wrong(Exception):
    pass


def read(texts):
    """What pipeline.groovy tells of each text."""
    environment = dict(os.environ)
    if not pathlib.Path(environment.get("JAVA_HOME", "/usr/lib/jvm/default-java"), "bin/java").exists():
        environment["JAVA_HOME"] = str(pathlib.Path(shutil.which("java") or "/").resolve().parents[1])
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, text in enumerate(texts):
            paths.append(pathlib.Path(folder, str(number)))
            paths[-1].write_text(text)
        command = ["groovy", pathlib.Path(__file__).with_suffix(".groovy"), *paths]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)


def expect(holds, what):
    if not holds:
        raise Wrong(what)


def blocks(statements, allowed):
    """{name: inner statements} of blocks that stand once and have no values."""
    found = {}
    for name, values, inner in statements:
        expect(name in allowed and name not in found and not values and inner is not None, f"{name}: not expected here")
        found[name] = inner
    return found


def understand(tree):
    """(parameters with their defaults, environment, [(stage, script)]) of a pipeline as ours is to be."""
    expect(isinstance(tree, list), tree)
    pipeline = blocks(blocks(tree, {"pipeline"})["pipeline"], {"agent", "parameters", "environment", "stages", "post"})
    expect(len(pipeline["agent"]) == 1 and pipeline["agent"][0][0] == "label", "agent: expected one label")
    parameters = {}
    for name, values, inner in pipeline["parameters"]:
        expect(name == "string" and inner is None and len(values) == 1 and
               set(values[0]) == {"name", "defaultValue", "description"}, f"parameters: found {name} {values}")
        parameters[values[0]["name"]] = values[0]["defaultValue"]
    environment = {}
    for name, values, inner in pipeline["environment"]:
        expect(inner is None and len(values) == 1, f"environment: found {name}")
        environment[name] = values[0]
    stages = []
    for name, values, inner in pipeline["stages"]:
        expect(name == "stage" and len(values) == 1 and inner, f"stages: found {name}")
        steps = blocks(inner, {"steps"})["steps"]
        expect(len(steps) == 1 and steps[0][0] == "sh" and steps[0][2] is None and len(steps[0][1]) == 1,
               f"stage {values[0]}: expected one step, sh")
        stages.append((values[0], steps[0][1][0]))
    always = blocks(pipeline["post"], {"always"})["always"]
    expect([name for name, _, _ in always] == ["archiveArtifacts"], f"post: found {always}")
    return parameters, environment, stages


def check(tree):
    parameters, environment, stages = understand(tree)
    wanted = [(stage, f"jobs/ci/{script}.sh") for stage, script in STAGES.items()]
    expect(stages == wanted, f"stages: found {stages}, expected {wanted}")
    scripts = ""
    for _, script in stages:
        expect(os.access(ROOT / script, os.X_OK), f"{script}: no program")
        scripts += (ROOT / script).read_text()
    scripts += "".join(re.findall(r"^[^#].*\n", (ROOT / "jobs/ci/common.sh").read_text(), re.M))
    expect(NEEDED <= set(parameters), f"parameters: found {set(parameters)}, expected {NEEDED}")
    for name in parameters:
        expect(environment.get(name) == f'"$params.{name}"', f"parameter {name} does not reach the scripts")
        expect(re.search(rf"\$\{{?{name}\b", scripts), f"no script looks at {name}")
    lacking = {name for names in re.findall(r"^need (.*)", scripts, re.M) for name in names.split()} - set(environment)
    expect(not lacking, f"environment: the scripts need {lacking}")
    expect(set(environment) - set(parameters) == {"RUN"}, f"environment: found {set(environment)}")
    expect((ROOT / parameters["CONFIGURATION"]).is_file(), f"CONFIGURATION: found no {parameters['CONFIGURATION']}")
    version = re.search(r"project\(trireme VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    expect(parameters["IMAGE_TAG"] == version, f"IMAGE_TAG: expected this version, {version}")


# Ways to break it: (pattern, replacement).
CHANGES = [
    (r"sh 'jobs/ci/train.sh'", "sh 'jobs/ci/train.sh || true'"),
    (r"sh 'jobs/ci/train.sh'", "sh 'build/trireme train --config=run.ini'"),
    (r"sh 'jobs/ci/train.sh'", 'sh "jobs/ci/${params.RANKS}.sh"'),
    (r"sh 'jobs/ci/train.sh'", "sh(script: 'jobs/ci/train.sh', returnStatus: true)"),
    (r"sh 'jobs/ci/train.sh'", "sh 'jobs/ci/test.sh'"),
    (r"sh 'jobs/ci/train.sh'", "sh 'jobs/ci/train.sh'; sh 'rm -rf runs'"),
    (r"sh 'jobs/ci/evaluate.sh'", "if (params.LARGEST_LOSS) { sh 'jobs/ci/evaluate.sh' }"),
    (r"sh 'jobs/ci/evaluate.sh'", "script { sh 'jobs/ci/evaluate.sh' }"),
    (r"sh 'jobs/ci/evaluate.sh'", "echo 'evaluated'"),
    (r"    stage\('Evaluate'\).*\n", ""),
    (r"    (stage\('Evaluate'\).*)\n    (stage\('Publish'\).*)\n", r"\2\n\1\n"),
    (r"    string\(name: 'IMAGE_TAG'.*\n", ""),
    (r"    string\(name: 'CONFIGURATION'.*\n", ""),
    (r"    CONFIGURATION = .*\n", ""),
    (r"    CONFIGURATION = .*\n", '    CONFIGURATION = "${params.RANKS}"\n'),
    (r"    CONFIGURATION = .*\n", "    CONFIGURATION = 'jobs/configs/quickstart.ini'\n"),
    (r"    RUN = .*\n", ""),
    (r"jobs/configs/quickstart.ini", "jobs/configs/none.ini"),
    (r"'0\.1\.0'", "'latest'"),
    (r"string\(name: 'RANKS'", "string(name: 'PROCESSES'"),
    (r"\}\Z", ""),
]


def check_all():
    text = JENKINSFILE.read_text().rstrip()
    changed = [re.sub(pattern, replacement, text, count=1) for pattern, replacement in CHANGES]
    trees = read([text, *changed])
    failures = []
    try:
        check(trees[0])
    except Wrong as error:
        failures.append(f"jobs/ci/Jenkinsfile: {error}")
    for (pattern, replacement), after, tree in zip(CHANGES, changed, trees[1:]):
        if after == text:
            failures.append(f"found nothing like {pattern}")
        try:
            check(tree)
            failures.append(f"nobody noticed '{pattern}' become '{replacement}'")
        except (Wrong, KeyError):
            pass
    print("\n".join(failures) or f"{len(CHANGES)} ways to break the pipeline are noticed")
    return 1 if failures else 0


def run(given):
    parameters, environment, stages = understand(read([JENKINSFILE.read_text()])[0])
    for each in given:
        name, separator, value = each.partition("=")
        if name not in parameters or not separator:
            print(f"pipeline.py: found '{each}', expected {', '.join(parameters)}, with =VALUE", file=sys.stderr)
            return 2
        parameters[name] = value
    known = {f"params.{name}": value for name, value in parameters.items()}
    known["env.WORKSPACE"] = os.environ.get("WORKSPACE", str(ROOT))
    known["env.BUILD_NUMBER"] = os.environ.get("BUILD_NUMBER", "1")
    told = {name: re.sub(r"\$(\w+\.\w+)", lambda match: known[match[1]], value.strip('"'))
            for name, value in environment.items()}
    for stage, script in stages:
        print(f"== {stage}: {script}", flush=True)
        status = subprocess.run(["sh", "-e", "-c", script], cwd=ROOT, env={**os.environ, **told}, check=False).returncode
        if status:
            print(f"== {stage} failed with status {status}")
            return 1
    return 0


if sys.argv[1:2] not in (["check"], ["run"]):
    print("pipeline.py: expected check or run [PARAMETER=VALUE...]", file=sys.stderr)
    sys.exit(2)
if not shutil.which("groovy"):
    print("SKIPPED: found no groovy; jobs/install.sh --tests installs it")
    sys.exit(77)
sys.exit(check_all() if sys.argv[1] == "check" else run(sys.argv[2:]))
