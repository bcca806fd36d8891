"""What the programs themselves say about how a manifest starts them. Knows nothing of manifests."""

import os
import re
import subprocess
import tomllib
from pathlib import Path


class Refused(Exception):
    """A program would not start like this; its own words say why."""


class Programs:
    """The two programs, and the names that they read beside CONFAB_SECTION__KEY."""

    def __init__(self, directory: Path, root: Path):
        self.directory = directory
        source = (root / "shared/src/config.rs").read_text().split("#[cfg(test)]")[0]
        self.names = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)*)"', source)) | {"RUST_LOG"}
        self.answers: dict = {}

    def path(self, program: str) -> str:
        return str(self.directory / program)

    def ask(self, program: str, arguments: list, environment: dict) -> str:
        """What it prints with these arguments and nothing but this environment."""
        key = (program, tuple(arguments), tuple(sorted(environment.items())))
        if key not in self.answers:
            self.answers[key] = subprocess.run(
                [self.path(program), *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
            )
        answer = self.answers[key]
        if answer.returncode != 0:
            raise Refused((answer.stderr.strip().splitlines() or ["it says nothing"])[0])
        return answer.stdout

    def settings(self, program: str, environment: dict) -> dict:
        """The settings that are in force with this environment, none of which may be unknown."""
        for name in environment:
            if not name.startswith("CONFAB_") and name not in self.names and name != "POD_IP":
                raise Refused(f"nothing reads {name}")
        return tomllib.loads(self.ask(program, ["config", "--strict"], environment))

    def understands(self, program: str, arguments: list):
        """Refuses arguments that it has not. (`--help` keeps it from doing what they say.)"""
        self.ask(program, [*arguments, "--help"], {})


def port_of(address: str) -> int:
    """The port of host:port."""
    return int(address.rpartition(":")[2])


def own_environment() -> dict:
    """What tools other than the programs need of this process's environment."""
    return {name: os.environ[name] for name in ("HOME", "PATH", "LANG", "GOCACHE", "TMPDIR") if name in os.environ}
