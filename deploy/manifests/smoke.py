"""Starts both programs as the manifests do: their variables, with only the addresses replaced by ones of this machine."""

import json
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from objects import asked_of_prometheus
from pods import POD_IP, Build, environment
from programs import Programs

HERE, PATIENCE, END = "127.0.0.1", 20, 15


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HERE, 0))
        return listener.getsockname()[1]


def placed(variables: dict, state: dict) -> tuple:
    """The same variables for this machine, and the port of the internal listener."""
    internal = free_port()
    moved = {"DATABASE_URL": state["postgres"]["url"], "REDIS_URL": state["redis"]["url"], "JWT_SECRET": state["jwtSecret"], "PORT": str(free_port())}
    moved |= {"CONFAB_HTTP__INTERNAL_LISTEN": f"{HERE}:{internal}", "CONFAB_CLUSTER__ADVERTISE": f"{HERE}:{internal}"}
    kept = {key: moved.get(key, value.replace(POD_IP, HERE)) for key, value in variables.items()}
    return kept, internal


def run(builds: list, values: dict, programs: Programs, state_file: Path):
    """Migrates, starts a worker and a gateway, waits for their health, scrapes them, and ends them as a cluster would."""
    state = json.loads(state_file.read_text())
    build: Build = next(it for it in builds if it.name == "production")
    job = build.all("Job")[0]["spec"]["template"]["spec"]["containers"][0]
    migrated = subprocess.run(
        [programs.path("confab-worker"), *job["args"]], env=placed(environment(build, job), state)[0], capture_output=True, text=True, timeout=60
    )
    if migrated.returncode:
        yield f"smoke: the migration failed: {migrated.stderr.strip()}"
    series, wanted = set(), asked_of_prometheus(builds, values)
    for program in ("confab-worker", "confab-gateway"):
        container = build.template(program)["spec"]["containers"][0]
        variables, internal = placed(environment(build, container), state)
        process = subprocess.Popen(
            [programs.path(program), *container["args"]], env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            complaint = healthy(programs, program, variables, process)
            if complaint:
                yield f"smoke: {program} {complaint}"
                continue
            own = {it for it in wanted if it.startswith(program.replace("-", "_"))}
            for _ in range(40):
                found = scraped(internal)
                if own <= found:
                    break
                time.sleep(0.25)  # a worker tells of partitions only once it has some
            series |= found
            process.send_signal(signal.SIGTERM)
            # A pod without clients has nothing to wait for.
            process.communicate(timeout=END)
            if process.returncode != 0:
                yield f"smoke: {program} ends with {process.returncode} when it is told to drain"
        except subprocess.TimeoutExpired:
            yield f"smoke: {program} does not end within {END} s of SIGTERM"
        finally:
            process.kill()
            process.wait()
    for missing in sorted(wanted - series):
        yield f"smoke: autoscalers ask for {missing}, which neither program has"


def scraped(port: int) -> set:
    """The names of the series at an internal listener."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{HERE}:{port}/metrics", timeout=5) as answer:
        return set(re.findall(r"^(confab_\w+)", answer.read().decode(), re.M))


def healthy(programs: Programs, program: str, variables: dict, process):
    """Asks as the images do, until it is ready. Whatever keeps it from that is what it returns."""
    question = [programs.path(program), "healthcheck"]
    deadline = time.monotonic() + PATIENCE
    while subprocess.run([*question, "--ready"], env=variables, capture_output=True).returncode:
        if process.poll() is not None:
            return f"ended at once: {process.stdout.read()[-500:].strip()}"
        if time.monotonic() > deadline:
            return f"was not ready within {PATIENCE} s"
        time.sleep(0.2)
    if subprocess.run(question, env=variables, capture_output=True).returncode:
        return "is ready and does not live"
    return None
