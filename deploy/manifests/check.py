"""Checks the Dockerfile, deploy/compose.yaml and k8s/ without an engine or a cluster, asking the programs themselves.

    check.py --programs target/test/bin             every check; exits with 1 and says what is wrong
    check.py --programs … --state target/test/state.json   also starts both programs as the manifests do (smoke.py)
    check.py --write-rules                          copies the alert rules into k8s/components/monitoring
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

import containers
import objects
import pods
import smoke
from programs import Programs, own_environment

ADAPTER, KEDA = "../../components/prometheus-adapter", "../../components/keda"
# What is built: both overlays, and production with the other way of autoscaling.
BUILDS = ("dev", "production", "production with KEDA")


def kustomize(directory: Path) -> list:
    """What a kustomization builds. CONFAB_KUSTOMIZE is the command, `kubectl kustomize` unless it is set."""
    command = os.environ.get("CONFAB_KUSTOMIZE", "kubectl kustomize").split()
    built = subprocess.run([*command, str(directory)], capture_output=True, text=True, env=own_environment())
    if built.returncode:
        raise ValueError(built.stderr.strip())
    return list(yaml.safe_load_all(built.stdout))


def builds(root: Path, wanted: tuple):
    """Those of BUILDS that are wanted, made from a copy, with the secrets that dev asks for."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "k8s"
        shutil.copytree(root / "k8s", copy)
        (copy / "overlays/dev/secrets.env").write_text("".join(f"{key}={value}\n" for key, value in pods.SECRETS.items()))
        overlay = copy / "overlays/production/kustomization.yaml"
        usual = overlay.read_text()
        if f"- {ADAPTER}\n" not in usual:
            raise ValueError(f"overlays/production does not name {ADAPTER}, so the other way cannot be tried")
        for name in wanted:
            overlay.write_text(usual.replace(f"- {ADAPTER}\n", f"- {KEDA}\n") if name.endswith("KEDA") else usual)
            directory = copy / "overlays" / name.split()[0]
            yield pods.Build(name, kustomize(directory), (directory / "kustomization.yaml").read_text())


def of_containers(root: Path, programs: Programs):
    """What is wrong with the image, the composition and nginx."""
    for check in containers.CHECKS:
        yield from check(root, programs)


def of_clusters(root: Path, programs: Programs, state: Path | None = None, wanted: tuple = BUILDS):
    """What is wrong with k8s/, as far as the builds that are wanted show it."""
    built = []
    try:
        built.extend(builds(root, wanted))
    except ValueError as error:
        yield f"kustomize: {error}"
        return
    for build in built:
        broken = list(objects.valid(build))
        yield from (f"{build.name}: {complaint}" for complaint in broken)
        if broken:
            continue  # the others rely on the shape
        for check in (*pods.CHECKS, *objects.CHECKS):
            yield from (f"{build.name}: {complaint}" for complaint in check(build, programs))
        yield from objects.rules_kept(build, root)
    values = yaml.safe_load((root / "k8s/components/prometheus-adapter/values.yaml").read_text())
    yield from objects.adapted(built, values)
    if state:
        yield from smoke.run(built, values, programs, state)


def write_rules(root: Path):
    path = root / "k8s/components/monitoring/rules.yaml"
    rule = yaml.safe_load(path.read_text())
    rule["spec"]["groups"] = objects.rules_of(root)
    head = "# Written by deploy/manifests/check.py --write-rules from deploy/prometheus/rules: change it there.\n"
    path.write_text(head + yaml.dump(rule, Dumper=Lines, sort_keys=False, width=1000, allow_unicode=True))


class Lines(yaml.SafeDumper):
    """Writes texts of several lines as such."""


Lines.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))


def main() -> int:
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description="Checks the Dockerfile, deploy/compose.yaml and k8s/.")
    parser.add_argument("--programs", type=Path, help="where confab-gateway and confab-worker are")
    parser.add_argument("--state", type=Path, help="state.json of a cluster to start them beside")
    parser.add_argument("--write-rules", action="store_true", help="copy the alert rules into k8s/components/monitoring")
    arguments = parser.parse_args()
    if arguments.write_rules:
        write_rules(root)
        return 0
    if not arguments.programs:
        parser.error("--programs is required")
    programs = Programs(arguments.programs, root)
    complaints = [*of_containers(root, programs), *of_clusters(root, programs, arguments.state)]
    found = list(dict.fromkeys(complaints))
    for complaint in found:
        print(f"  {complaint}")
    print(f"{len(found)} complaints about the manifests" if found else "the manifests are sound")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
