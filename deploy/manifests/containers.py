"""The image, the composition of containers, and nginx between them. Each check yields complaints in words."""

import ipaddress
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from pathlib import Path

import yaml

from programs import Programs, Refused, own_environment, port_of

TOOLS = Path(sys.executable).parent
# What stands in for what deploy/.env has to say.
SECRET = "0123456789abcdef0123456789abcdef"


def instructions(text: str) -> list:
    """A Dockerfile's instructions, each with its argument, continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return [tuple(line.split(None, 1)) for line in re.sub(r"\\\n\s*", "", lines).splitlines()]


def stages(text: str) -> dict:
    """The stages by name, with everything that they take over from the one they begin with."""
    found, current = {}, None
    for word, argument in instructions(text):
        if word == "FROM":
            base, _, stage = argument.partition(" AS ")
            current = found[stage] = list(found.get(base, [("FROM", base)]))
        elif current is not None:
            current.append((word, argument))
    return found


@cache
def linted(text: str) -> list:
    """What hadolint says."""
    said = subprocess.run([TOOLS / "hadolint", "--no-color", "-"], input=text, capture_output=True, text=True, env=own_environment())
    return [f"Dockerfile: {line}" for line in words(said)]


def words(checked: subprocess.CompletedProcess) -> list:
    """What a tool complains of, line by line: also one that only says by its exit status that something is wrong, perhaps with itself."""
    said = checked.stdout.splitlines()
    if checked.returncode and not said:
        said = checked.stderr.splitlines() or [f"{Path(checked.args[0]).name} ended with {checked.returncode} and said nothing"]
    return said


@cache
def schematic(text: str) -> str:
    """What check-jsonschema says of a composition; nothing if it is content."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        checker = [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file.name]
        checked = subprocess.run(checker, capture_output=True, text=True, env=own_environment())
    return "\n".join(words(checked)) if checked.returncode else ""


def image(root: Path, programs: Programs):
    """The Dockerfile: syntax and custom (hadolint), then what it says of our programs."""
    path = root / "deploy/Dockerfile"
    yield from linted(path.read_text())
    found = stages(path.read_text())
    wanted = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]
    if not found["build"][0][1].startswith(f"rust:{wanted['package']['rust-version']}-"):
        yield f"Dockerfile: builds with {found['build'][0][1]}, not Rust {wanted['package']['rust-version']}"
    distribution = found["build"][0][1].rpartition("-")[2]
    if distribution not in found["runtime"][0][1]:
        yield f"Dockerfile: built on {distribution}, run on {found['runtime'][0][1]}: another C library"
    for member in wanted["members"]:
        if not (root / member / "Cargo.toml").exists() or member.split("/")[0] not in seen_by_build(root):
            yield f"Dockerfile.dockerignore: keeps {member} from the build, which Cargo.toml asks for"
    for target in ("gateway", "worker"):
        yield from target_image(f"Dockerfile, {target}", found.get(target, []), f"confab-{target}", programs)


def seen_by_build(root: Path) -> list:
    lines = (root / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    return [line[1:] for line in lines if line.startswith("!")]


def target_image(where: str, stage: list, program: str, programs: Programs):
    said = dict(stage)  # the last of each
    user = said.get("USER", "0").split(":")[0]
    if not user.isdigit() or user == "0":
        yield f"{where}: USER {user} is not a number other than 0, which runAsNonRoot asks for"
    if said.get("STOPSIGNAL") != "SIGTERM":
        yield f"{where}: STOPSIGNAL is not SIGTERM, which drains"
    binary = f"/usr/local/bin/{program}"
    if not any(word == "COPY" and argument.endswith(f"/{program} {binary}") for word, argument in stage):
        yield f"{where}: {program} is not copied to {binary}"
    if json.loads(said.get("ENTRYPOINT", "[]")) != [binary]:
        yield f"{where}: ENTRYPOINT is not {binary}"
    environment = {"JWT_SECRET": SECRET} if program == "confab-gateway" else {}
    for word, argument in stage:
        if word == "ENV":
            environment |= dict(pair.split("=", 1) for pair in argument.split())
    if program == "confab-gateway":
        environment["CONFAB_CLUSTER__ADVERTISE"] = "here:9100"
    try:
        programs.understands(program, json.loads(said.get("CMD", "[]")))
        check = json.loads(said.get("HEALTHCHECK", "CMD []").partition("CMD ")[2])
        if check[:2] != [binary, "healthcheck"] or "--ready" in check:
            yield f"{where}: HEALTHCHECK does not ask whether it lives"
        programs.understands(program, check[1:])
        settings = programs.settings(program, environment)
    except Refused as refusal:
        yield f"{where}: {program} refuses this: {refusal}"
        return
    ports = {port_of(settings["http"]["internal_listen"])} | ({settings["http"]["port"]} if program == "confab-gateway" else set())
    exposed = {int(argument) for word, argument in stage if word == "EXPOSE"}
    if exposed != ports:
        yield f"{where}: exposes {sorted(exposed)}, the program listens on {sorted(ports)}"


def example(root: Path) -> dict:
    """The variables of deploy/env.example."""
    lines = (root / "deploy/env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def interpolated(text: str, variables: dict) -> str:
    """What compose makes of ${NAME}, ${NAME:-default} and ${NAME:?message}."""
    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", lambda it: variables.get(it[1]) or (it[3] if it[2] == "-" else ""), text)


def composition(root: Path, programs: Programs):
    """deploy/compose.yaml: its schema, and every path, port, name and flag in it."""
    path = root / "deploy/compose.yaml"
    refused = schematic(path.read_text())
    if refused:
        yield f"compose.yaml: {refused}"
        return  # the rest relies on the shape
    # Comments show variables, too.
    text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    given = example(root)
    for variable, kind, _ in re.findall(r"\$\{(\w+)(?::([-?])([^}]*))?\}", text):
        if variable not in given:
            yield f"compose.yaml: {variable} is not in env.example"
        elif (kind == "?") != (given[variable] == ""):
            yield f"compose.yaml: {variable} is {'required' if kind == '?' else 'optional'}, but env.example says {given[variable] or 'nothing'!r}"
        elif re.search("SECRET|PASSWORD", variable) and kind != "?":
            yield f"compose.yaml: {variable} has a default, which somebody will forget to change"
    for variable in set(given) - set(re.findall(r"\$\{(\w+)", text)):
        yield f"env.example: nothing reads {variable}"
    secrets = {variable: SECRET for variable, value in given.items() if not value}
    composed = yaml.safe_load(interpolated(text, given | secrets))
    builds = [complaint for program in ("confab-gateway", "confab-worker") for complaint in built_once(program, composed)]
    if builds:
        yield from builds
        return
    for service, content in composed["services"].items():
        yield from contained(f"compose.yaml, {service}", service, content, composed)
        yield from mounted(f"compose.yaml, {service}", content, composed, root)
        program = content["image"].split(":")[0]
        if program in ("confab-gateway", "confab-worker"):
            build = built_by(program, composed)["build"]
            yield from composed_program(f"compose.yaml, {service}", service, content | {"build": build}, program, composed, root, programs)
    yield from unknown_targets(root, composed)
    yield from nginx(root, composed)


def built_by(program: str, composed: dict) -> dict:
    """The service that an image is built for."""
    return next(it for it in composed["services"].values() if it["image"].startswith(f"{program}:") and "build" in it)


def built_once(program: str, composed: dict):
    """Builds of one image at the same time disturb each other, and a stranger's image of that name is not wanted."""
    users = [it for it in composed["services"].values() if it["image"].startswith(f"{program}:")]
    others = [it for it in users if "build" not in it]
    if len(users) - len(others) != 1:
        yield f"compose.yaml: {program} is built for {len(users) - len(others)} services; one is meant"
    if any(it.get("pull_policy") != "never" for it in others):
        yield f"compose.yaml: {program} would be fetched from a registry (pull_policy)"
    if len({it["image"] for it in users}) > 1:
        yield f"compose.yaml: {program} has several images"


def contained(where: str, service: str, content: dict, composed: dict):
    """Nobody has more rights than it needs, and nobody is reached who need not be."""
    for key, wanted in {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}.items():
        if content.get(key) != wanted:
            yield f"{where}: {key} is not {wanted}"
    ours = content["image"].startswith("confab-")  # the Dockerfile says who
    if not ours and not re.match(r"\d+:\d+$", content.get("user", "")) or content.get("user", "").startswith("0:"):
        yield f"{where}: user is not a number other than 0"
    if "limits" not in content.get("deploy", {}).get("resources", {}):
        yield f"{where}: no limits of resources"
    if not content.get("healthcheck"):
        yield f"{where}: no health check"
    for published in content.get("ports", []):
        if service != "nginx" and not published.startswith("127.0.0.1:"):
            yield f"{where}: {published} is published to everybody"
        if published.endswith(":9100"):
            yield f"{where}: the internal listener is published"
    for other, wanted in content.get("depends_on", {}).items():
        target = composed["services"].get(other)
        if not target:
            yield f"{where}: depends on {other}, which there is not"
        elif wanted["condition"] == "service_healthy" and target.get("healthcheck", {}).get("disable", "test" not in target.get("healthcheck", {})):
            yield f"{where}: waits for the health of {other}, which nobody asks for"
    for network in content.get("networks", []):
        if network not in composed["networks"]:
            yield f"{where}: there is no network {network}"
        address = (content["networks"][network] or {}).get("ipv4_address") if isinstance(content["networks"], dict) else None
        if address and ipaddress.ip_address(address) not in ipaddress.ip_network(composed["networks"][network]["ipam"]["config"][0]["subnet"]):
            yield f"{where}: {address} is no address of the network {network}"
    if content["image"].endswith(":latest") or ":" not in content["image"]:
        yield f"{where}: image {content['image']} may be another one tomorrow"


def mounted(where: str, content: dict, composed: dict, root: Path):
    """What is mounted is in the repository, and read-only, or a volume."""
    for mount in content.get("volumes", []):
        source = mount.split(":")[0]
        if source.startswith("."):
            if not (root / "deploy" / source).exists():
                yield f"{where}: there is no deploy/{source[2:]}"
            if not mount.endswith(":ro"):
                yield f"{where}: {source} is mounted writable"
        elif source not in composed["volumes"]:
            yield f"{where}: there is no volume {source}"


def composed_program(where, service, content, program, composed, root, programs):
    """Our programs: image, arguments, variables, health check and end are what the programs know."""
    build = content["build"]
    found = stages((root / "deploy" / build["context"] / build["dockerfile"]).read_text())
    if build["target"] not in found or f"confab-{build['target']}" != program:
        yield f"{where}: the Dockerfile has no stage {build['target']} for {program}"
        return
    environment = {}
    for word, argument in found[build["target"]]:
        if word == "ENV":
            environment |= dict(pair.split("=", 1) for pair in argument.split())
    environment |= content["environment"]
    try:
        programs.understands(program, content.get("command", []))
        health = content["healthcheck"].get("test")
        if health:
            programs.understands(program, health[2:])
            if health[1] != f"/usr/local/bin/{program}":
                yield f"{where}: the health check asks {health[1]}"
        settings = programs.settings(program, environment)
    except Refused as refusal:
        yield f"{where}: {program} refuses this: {refusal}"
        return
    for url in (settings["database"]["url"], settings["redis"]["url"]):
        host, port = re.search(r"(?:@|//)([\w.-]+):(\d+)", url).groups()
        shared = set(content["networks"]) & set(composed["services"].get(host, {}).get("networks", []))
        if not shared or port not in ("5432", "6379"):
            yield f"{where}: does not reach {url}"
    if content.get("command"):
        return
    drain = settings["drain"]["limit_seconds"] if program == "confab-gateway" else settings["worker"]["drain_seconds"]
    if int(content["stop_grace_period"].rstrip("s")) < drain + 5:
        yield f"{where}: stop_grace_period {content['stop_grace_period']} is less than {drain} s of drain and 5 s to spare"
    if f"{service}:{port_of(settings['http']['internal_listen'])}" not in scraped(build["target"], root):
        yield f"{where}: Prometheus does not ask it"
    if program == "confab-gateway":
        yield from apart(where, content, settings)
        address = composed["services"]["nginx"]["networks"]["edge"]["ipv4_address"]
        proxies = [ipaddress.ip_network(it) for it in settings["http"]["trusted_proxies"].split(",")]
        if not any(ipaddress.ip_address(address) in it for it in proxies):
            yield f"{where}: does not trust nginx at {address}"
        if content["ulimits"]["nofile"]["soft"] < settings["http"]["max_connections"] + settings["cluster"]["max_connections"]:
            yield f"{where}: fewer files than connections"
        if f"server {service}:{settings['http']['port']} " not in (root / "deploy/nginx/confab.conf").read_text():
            yield f"{where}: nginx passes nothing on to {service}:{settings['http']['port']}"


def scraped(job: str, root: Path) -> list:
    """The targets of a job of deploy/prometheus/prometheus.yml."""
    jobs = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    return [target for it in jobs if it["job_name"] == job for group in it["static_configs"] for target in group["targets"]]


def unknown_targets(root: Path, composed: dict):
    """Nobody is missed who is not meant to be there."""
    for job in ("gateway", "worker"):
        for target in scraped(job, root):
            if target.split(":")[0] not in composed["services"]:
                yield f"prometheus.yml: there is no container {target}"


def apart(where: str, content: dict, settings: dict):
    """Whoever reaches the internal listener is believed: it is where only the others are."""
    listens, inside = settings["http"]["internal_listen"], content["networks"]["inside"].get("ipv4_address")
    if listens.rpartition(":")[0] != inside:
        yield f"{where}: its internal listener is at {listens}, not on the network inside alone"
    if settings["cluster"]["advertise"] != listens:
        yield f"{where}: other gateways would look for it at {settings['cluster']['advertise']}"


def nginx(root: Path, composed: dict):
    """nginx takes its configuration, with the containers' names and places replaced by ones that are here."""
    source = root / "deploy/nginx"
    text = "\n".join(path.read_text() for path in sorted(source.glob("*.conf")))
    if re.search(r"^\s*(ip_hash|hash|sticky|random)\b", text, re.M):
        yield "nginx: keeps clients on one gateway"
    hosts = composed["services"]["nginx"].get("extra_hosts", {})
    for word in re.findall(r"server (gateway-[\w-]+):", text):
        if word not in composed["services"]:
            yield f"nginx: there is no container {word}"
        elif hosts.get(word) != composed["services"][word]["networks"]["edge"].get("ipv4_address"):
            yield f"nginx: would not start while {word} is away: its address is not among extra_hosts"
    if not re.search(r"^worker_processes \d+;", text, re.M):
        yield "nginx: starts as many workers as the machine has processors, whatever it may use of them"
    listening = re.search(r"listen (\d+)", text)[1]
    if f":{listening}" not in "".join(composed["services"]["nginx"]["ports"]):
        yield f"nginx: its port {listening} is not the one that is published"
    program = "/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else "nginx"
    with tempfile.TemporaryDirectory() as place:
        for path in source.glob("*.conf"):
            moved = re.sub(r"gateway-\d+:", "127.0.0.1:", path.read_text()).replace("/tmp/", f"{place}/").replace("/dev/stdout", f"{place}/access")
            (Path(place) / path.name).write_text(moved)
        tried = subprocess.run([program, "-t", "-q", "-p", place, "-c", "nginx.conf", "-e", "stderr"], capture_output=True, text=True, env=own_environment())
        yield from (f"nginx: {line}" for line in words(tried) if tried.returncode)


CHECKS = (image, composition)
