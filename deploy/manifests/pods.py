"""Pods: what they may do, how they are started, asked and ended. Each check yields complaints in words."""

import re
from dataclasses import dataclass, field

from programs import Programs, Refused, port_of

# What stands in for values that only a cluster has.
POD_IP = "10.1.2.3"
SECRETS = {
    "JWT_SECRET": "0123456789abcdef0123456789abcdef",
    "DATABASE_URL": "postgres://confab:secret@postgres:5432/confab",
    "REDIS_URL": "redis://redis:6379",
    "POSTGRES_PASSWORD": "secret",
}
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@dataclass
class Build:
    """One built kustomization."""

    name: str
    documents: list
    notes: str  # the overlay's kustomization.yaml, whose comments say what people have to see to
    templates: list = field(init=False)

    def __post_init__(self):
        self.templates = [(f"{it['kind']} {name(it)}", it["spec"]["template"]) for it in self.documents if "template" in it.get("spec", {})]

    def all(self, kind: str) -> list:
        return [it for it in self.documents if it["kind"] == kind]

    def find(self, kind: str, wanted: str):
        return next((it for it in self.all(kind) if name(it) == wanted), None)

    def template(self, program: str):
        """The pod template of a program's Deployment."""
        deployment = self.find("Deployment", program)
        return deployment and deployment["spec"]["template"]


def name(document: dict) -> str:
    return document["metadata"]["name"]


def program_of(container: dict):
    """Which of ours it runs, if it does."""
    image = container["image"].split("@")[0].rpartition("/")[2].split(":")[0]
    return image if image in ("confab-gateway", "confab-worker") else None


def selected(selector: dict, template: dict) -> bool:
    """Whether a pod of the template has the labels that are asked for."""
    labels = template["metadata"].get("labels", {})
    return not selector.get("matchExpressions") and all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def environment(build: Build, container: dict) -> dict:
    """The variables that the kubelet would set."""
    found = {}
    for source in container.get("envFrom", []):
        settings = build.find("ConfigMap", source["configMapRef"]["name"])
        found |= (settings or {}).get("data", {})
    for variable in container.get("env", []):
        origin = variable.get("valueFrom", {})
        if "secretKeyRef" in origin:
            value = SECRETS.get(origin["secretKeyRef"]["key"], "")
        elif "fieldRef" in origin:
            value = POD_IP if origin["fieldRef"]["fieldPath"] == "status.podIP" else ""
        else:
            value = variable.get("value", "")
        found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda it: found.get(it[1], it[0]), value)
    return found


def restricted(build: Build, _programs: Programs):
    """The restricted Pod Security Standard, and what we ask for beyond it."""
    for where, template in build.templates:
        pod = template["spec"]
        for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(forbidden):
                yield f"{where}: {forbidden}"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{where}: automountServiceAccountToken is not false"
        if pod.get("enableServiceLinks") is not False:
            yield f"{where}: enableServiceLinks is not false, so services' addresses would be taken for settings"
        for volume in pod.get("volumes", []):
            if not set(volume) - {"name"} <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}:
                yield f"{where}: volume {volume['name']} is of a kind that restricted pods may not have"
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            context = pod.get("securityContext", {}) | container.get("securityContext", {})
            place = f"{where}, container {container['name']}"
            for key, wanted in {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}.items():
                if context.get(key) is not wanted:
                    yield f"{place}: {key} is not {str(wanted).lower()}"
            if context.get("privileged"):
                yield f"{place}: privileged"
            if context.get("runAsUser", 0) == 0:
                yield f"{place}: runAsUser is not a number other than 0"
            if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
                yield f"{place}: seccompProfile is not RuntimeDefault"
            if context.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{place}: capabilities are not all dropped"
            resources = container.get("resources", {})
            if "memory" not in resources.get("limits", {}) or not {"cpu", "memory"} <= set(resources.get("requests", {})):
                yield f"{place}: requests of CPU and memory, or a limit of memory, are missing"


def started(build: Build, programs: Programs):
    """Our containers' environment, arguments and ports are what the programs know."""
    for where, template in build.templates:
        for container in template["spec"]["containers"]:
            program = program_of(container)
            if not program:
                continue
            place = f"{where}, container {container['name']}"
            if "command" in container:
                yield f"{place}: command replaces the image's entry point; args is meant"
            variables = environment(build, container)
            try:
                programs.understands(program, container.get("args", []))
                settings = programs.settings(program, variables)
            except Refused as refusal:
                yield f"{place}: {program} refuses this: {refusal}"
                continue
            ports = {it["name"]: it["containerPort"] for it in container.get("ports", [])}
            wanted = {"internal": port_of(settings["http"]["internal_listen"])}
            if program == "confab-gateway":
                wanted["public"] = settings["http"]["port"]
                if settings["cluster"]["advertise"] != f"{POD_IP}:{wanted['internal']}":
                    yield f"{place}: other gateways would look for it at {settings['cluster']['advertise'] or 'nowhere'}"
            if container.get("args") == ["run"]:
                if ports != wanted:
                    yield f"{place}: its ports are {ports}, the program's {wanted}"
                if not settings["http"]["internal_listen"].startswith("0.0.0.0:"):
                    yield f"{place}: probes and other gateways cannot reach {settings['http']['internal_listen']}"


def asked(build: Build, _programs: Programs):
    """Probes mean what they should: life depends on nothing else, readiness is asked for, neither is asked of the public port."""
    paths = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for where, template in build.templates:
        for container in template["spec"]["containers"]:
            if not program_of(container) or container.get("args") != ["run"]:
                continue
            for probe in PROBES:
                request = container.get(probe, {}).get("httpGet", {})
                if request.get("path") != paths[probe] or request.get("port") != "internal":
                    yield f"{where}: {probe} does not ask for {paths[probe]} at the internal port"


def ended(build: Build, programs: Programs):
    """Who leaves has the time that the program may take, after everybody has heard of it."""
    for program, limit in {"confab-gateway": ("drain", "limit_seconds"), "confab-worker": ("worker", "drain_seconds")}.items():
        template = build.template(program)
        if not template:
            yield f"there is no Deployment {program}"
            continue
        container = template["spec"]["containers"][0]
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        try:
            settings = programs.settings(program, environment(build, container))
        except Refused:
            continue  # `started` says so
        drain = settings[limit[0]][limit[1]]
        grace = template["spec"].get("terminationGracePeriodSeconds", 30)
        if grace < sleep + drain + 5:
            yield f"{program}: terminationGracePeriodSeconds {grace} is less than {sleep} s of sleep, {drain} s of drain and 5 s to spare"
        if program == "confab-gateway":
            if sleep < 5:
                yield f"{program}: no preStop sleep of 5 s or more, so some would still be sent to a gateway that accepts no more"
            spread, ready = settings["drain"]["spread_seconds"], build.find("Deployment", program)["spec"].get("minReadySeconds", 0)
            if ready < sleep + spread:
                yield f"{program}: minReadySeconds {ready} is less than {sleep} s of sleep and {spread} s of spread, so several would drain at once"


CHECKS = (restricted, started, asked, ended)
