"""Everything but pods: schemas, references between objects, who may reach whom, autoscaling, alerts. Each check yields complaints in words."""

import ipaddress
import json
import re
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from pods import SECRETS, Build, environment, name, program_of, selected
from programs import Programs, Refused

# The newest Kubernetes that the validator knows, and the oldest that has all we use (preStop sleep without a feature gate).
VERSIONS = ("1.37", "1.30")
SCHEMAS = {
    path.stem: jsonschema.Draft202012Validator(json.loads(path.read_text()))
    for path in sorted((Path(__file__).parent / "schemas").glob("*.json"))
}
# Where caches of names on nodes, and some clouds' name servers, have their addresses.
NODE_LOCAL = ipaddress.ip_network("169.254.0.0/16")
# Pods that there are beside the most that an autoscaler asks for, while they are replaced.
OVERLAP = 3
# Annotations by which proxies keep a client on one gateway.
STICKY = re.compile(r"affinity|sticky|session-cookie|hash-by|hash_balance|lb-method: (ip_)?hash", re.I)


def valid(build: Build):
    """Kubernetes' own schemas; those of KEDA and the Prometheus operator for theirs."""
    for document in build.documents:
        yield from (f"{document['kind']} {name(document)}: {error}" for error in misshapen(json.dumps(document)))


@cache
def misshapen(text: str) -> list:
    """What is wrong with the shape of one object."""
    document = json.loads(text)
    if document["kind"] in SCHEMAS:
        return [f"{error.json_path}: {error.message}" for error in SCHEMAS[document["kind"]].iter_errors(document)]
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            found.append(f"{path}: {error.message} ({version})")
        except kubernetes_validate.SchemaNotFoundError:
            found.append(f"Kubernetes {version} has no such kind, nor is there a schema in deploy/manifests/schemas")
    return found


def unsticky(build: Build, _programs: Programs):
    """Any request may reach any gateway."""
    for document in build.documents:
        where = f"{document['kind']} {name(document)}"
        if document.get("spec", {}).get("sessionAffinity", "None") != "None":
            yield f"{where}: sessionAffinity"
        for key, value in document["metadata"].get("annotations", {}).items():
            if STICKY.search(f"{key}: {value}"):
                yield f"{where}: annotation {key} would keep clients on one gateway"


def referred(build: Build, _programs: Programs):
    """What an object names exists: in the build, or, where somebody else makes it, the one Secret with the keys that are documented."""
    secrets = {name(it): it for it in build.all("Secret")}
    for where, template in build.templates:
        pod = template["spec"]
        for container in pod["containers"]:
            for source in container.get("envFrom", []):
                if not build.find("ConfigMap", source["configMapRef"]["name"]):
                    yield f"{where}: there is no ConfigMap {source['configMapRef']['name']}"
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if not reference:
                    if re.search("SECRET|PASSWORD|_URL$", variable["name"]) and "value" in variable:
                        yield f"{where}: {variable['name']} is written down; a Secret is meant"
                    continue
                given = secrets.get(reference["name"])
                known = {*given.get("data", {}), *given.get("stringData", {})} if given else SECRETS
                if not given and (build.name.startswith("dev") or reference["name"] != "confab-secrets"):
                    yield f"{where}: there is no Secret {reference['name']}"
                elif reference["key"] not in known:
                    yield f"{where}: Secret {reference['name']} has no key {reference['key']}"
        wanted = pod.get("priorityClassName")
        if wanted and not build.find("PriorityClass", wanted):
            yield f"{where}: there is no PriorityClass {wanted}"
    if not build.name.startswith("dev") and secrets:
        yield f"{', '.join(secrets)}: a Secret's content would be in version control"
    for service in build.all("Service"):
        yield from ports_exist(build, f"Service {name(service)}", service["spec"]["selector"], [it["targetPort"] for it in service["spec"]["ports"]])
    for ingress in build.all("Ingress"):
        for named in filter(None, ingress["metadata"].get("annotations", {}).get("nginx.org/websocket-services", "").split(",")):
            if not build.find("Service", named):
                yield f"Ingress {name(ingress)}: there is no Service {named} to pass WebSockets to"
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                service = build.find("Service", backend["name"])
                if not service or backend["port"].get("name") not in [it.get("name") for it in service["spec"]["ports"]]:
                    yield f"Ingress {name(ingress)}: there is no Service {backend['name']} with that port"
    for deployment in build.all("Deployment") + build.all("StatefulSet"):
        if not selected(deployment["spec"]["selector"], deployment["spec"]["template"]):
            yield f"{deployment['kind']} {name(deployment)}: its selector does not select its own pods"
        for constraint in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            if not selected(constraint["labelSelector"], deployment["spec"]["template"]):
                yield f"{deployment['kind']} {name(deployment)}: spreads other pods than its own"
    for monitor in build.all("ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"].items()
        services = [it for it in build.all("Service") if labels <= it["metadata"].get("labels", {}).items()]
        if {it["spec"]["selector"].get("app.kubernetes.io/name") for it in services} != {"confab-gateway", "confab-worker"}:
            yield f"ServiceMonitor {name(monitor)}: does not select both programs' Services"
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint["path"] != "/metrics" or any(endpoint["port"] not in [port["name"] for port in it["spec"]["ports"]] for it in services):
                yield f"ServiceMonitor {name(monitor)}: there is no {endpoint['path']} at a port {endpoint['port']}"


def ports_exist(build: Build, where: str, labels: dict, ports: list):
    templates = [template for _, template in build.templates if selected({"matchLabels": labels}, template)]
    if not templates:
        yield f"{where}: selects no pod"
    for port in ports:
        found = [it for template in templates for container in template["spec"]["containers"] for it in container.get("ports", [])]
        if port not in [it["name"] for it in found] + [it["containerPort"] for it in found]:
            yield f"{where}: no pod that it selects has a port {port}"


def guarded(build: Build, programs: Programs):
    """No pod is open to all, and the internal listener only to gateways and Prometheus; what has to be reached is."""
    policies = build.all("NetworkPolicy")
    for where, template in build.templates:
        kinds = {kind for it in policies if selected(it["spec"]["podSelector"], template) for kind in it["spec"]["policyTypes"]}
        if kinds != {"Ingress", "Egress"}:
            yield f"{where}: network policies leave it open"
    for policy in policies:
        where = f"NetworkPolicy {name(policy)}"
        for rule in policy["spec"].get("ingress", []):
            ports = [it["port"] for it in rule.get("ports", [])]
            if not rule.get("from") or not ports:
                yield f"{where}: lets anybody in"
            elif policy["spec"]["podSelector"].get("matchLabels"):
                yield from ports_exist(build, where, policy["spec"]["podSelector"]["matchLabels"], ports)
            if "internal" in ports and any("ipBlock" in it or set(it) == {"namespaceSelector"} for it in rule["from"]):
                yield f"{where}: opens the internal listener to more than gateways and Prometheus"
    for program, stores in {"confab-gateway": (5432, 6379), "confab-worker": (5432, 6379), "confab-migrate": (5432,)}.items():
        template = build.template(program) or next((it["spec"]["template"] for it in build.all("Job") if name(it) == program), None)
        egress = [rule for it in policies if template and selected(it["spec"]["podSelector"], template) for rule in it["spec"].get("egress", [])]
        named = {"postgres": 5432, "redis": 6379}
        reached = {named.get(port["port"], port["port"]) for rule in egress for port in rule.get("ports", [])}
        if not {*stores, 53} <= reached:
            yield f"{program}: may not reach ports {sorted({*stores, 53} - reached)}"
        peers = [peer for rule in egress if {"protocol": "UDP", "port": 53} in rule.get("ports", []) for peer in rule["to"]]
        if not any(ipaddress.ip_network(peer["ipBlock"]["cidr"]).supernet_of(NODE_LOCAL) for peer in peers if "ipBlock" in peer):
            yield f"{program}: finds no names where each node has a cache of them, at {NODE_LOCAL}"
        if program == "confab-gateway" and "internal" not in reached:
            yield f"{program}: may not reach other gateways"


def scaled(build: Build, programs: Programs):
    """Autoscalers: one for each program, within bounds that mean something, and slow to take gateways away."""
    found = {}
    for it in build.all("HorizontalPodAutoscaler"):
        spec = it["spec"]
        found.setdefault(spec["scaleTargetRef"]["name"], []).append((name(it), spec["minReplicas"], spec["maxReplicas"], spec["behavior"]["scaleDown"]))
        for metric in spec["metrics"]:
            yield from connections_fit(build, programs, metric.get("pods", {}).get("target", {}).get("averageValue"))
    for it in build.all("ScaledObject"):
        spec = it["spec"]
        down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        found.setdefault(spec["scaleTargetRef"]["name"], []).append((name(it), spec["minReplicaCount"], spec["maxReplicaCount"], down))
        for trigger in spec["triggers"]:
            query = trigger["metadata"].get("query", "")
            if query and f'namespace="{it["metadata"]["namespace"]}"' not in query:
                yield f"ScaledObject {name(it)}: asks for another namespace than its own: {query}"
            if trigger["type"] == "prometheus" and trigger["metadata"].get("ignoreNullValues") != "false":
                yield f"ScaledObject {name(it)}: takes no answer for nothing to do (ignoreNullValues)"
            if "connections" in query:
                yield from connections_fit(build, programs, trigger["metadata"]["threshold"])
    if build.name.startswith("dev"):
        return
    for program, least in {"confab-gateway": 3, "confab-worker": 2}.items():
        scalers = found.pop(program, [])
        if len(scalers) != 1:
            yield f"{program}: {len(scalers)} autoscalers"
            continue
        _, low, high, down = scalers[0]
        deployment = build.find("Deployment", program)
        if deployment and "replicas" in deployment["spec"]:
            yield f"{program}: replicas is the autoscaler's to say"
        if low < least or high < low:
            yield f"{program}: scales from {low} to {high}; at least {least} are meant"
        slowest = {"confab-gateway": (900, 120), "confab-worker": (300, 60)}[program]
        if down["stabilizationWindowSeconds"] < slowest[0] or any(
            (rule["type"], rule["value"]) != ("Pods", 1) or rule["periodSeconds"] < slowest[1] for rule in down["policies"]
        ):
            yield f"{program}: is scaled down faster than one pod in {slowest[1]} s after {slowest[0]} s"
        if program == "confab-worker" and high > settings_of(build, programs, program).get("partitions", {}).get("count", high):
            yield f"{program}: scales to {high}, more than there are partitions"
    for target in found:
        yield f"an autoscaler's target does not exist: {target}"
    for program in ("confab-gateway", "confab-worker"):
        budgets = [it for it in build.all("PodDisruptionBudget") if build.template(program) and selected(it["spec"]["selector"], build.template(program))]
        if [it["spec"].get("maxUnavailable") for it in budgets] != [1]:
            yield f"{program}: no PodDisruptionBudget that lets one go at a time"


def affordable(build: Build, programs: Programs):
    """What PostgreSQL has to have room for, once there are as many pods as autoscalers may make, is what the overlay says of it."""
    most = {it["spec"]["scaleTargetRef"]["name"]: it["spec"]["maxReplicas"] for it in build.all("HorizontalPodAutoscaler")}
    most |= {it["spec"]["scaleTargetRef"]["name"]: it["spec"]["maxReplicaCount"] for it in build.all("ScaledObject")}
    pools = {program: settings_of(build, programs, program).get("database", {}).get("max_connections", 0) for program in most if build.template(program)}
    needed = sum((most[program] + OVERLAP) * pool for program, pool in pools.items())
    if most and f" = {needed}." not in build.notes:
        yield f"PostgreSQL needs room for {needed} connections: {build.name}'s kustomization.yaml gives another sum"


def settings_of(build: Build, programs: Programs, program: str) -> dict:
    """The settings that a program's pods have; none where `pods.started` complains."""
    try:
        return programs.settings(program, environment(build, build.template(program)["spec"]["containers"][0]))
    except (Refused, TypeError):
        return {}


def connections_fit(build: Build, programs: Programs, average):
    most = settings_of(build, programs, "confab-gateway").get("http", {}).get("max_connections")
    if average and most and int(average) > most * 0.75:
        yield f"confab-gateway: scaled at {average} connections per pod, where each has room for {most}"


def pictured(build: Build, _programs: Programs):
    """Images: which they are is the overlay's to say, and a tag that moves is none."""
    for where, template in build.templates:
        for container in template["spec"]["containers"]:
            tag = container["image"].partition(":")[2] or container["image"].partition("@")[2]
            if tag in ("", "latest"):
                yield f"{where}: image {container['image']} may be another one tomorrow"
            if program_of(container) is None and container["name"] in ("gateway", "worker", "migrate"):
                yield f"{where}: image {container['image']} is neither confab-gateway nor confab-worker"


def rules_of(root: Path) -> list:
    """The alert rules, as deploy/prometheus has them."""
    files = sorted((root / "deploy/prometheus/rules").glob("*.yml"))
    return [group for file in files for group in (yaml.safe_load(file.read_text()) or {}).get("groups", [])]


def rules_kept(build: Build, root: Path):
    """The PrometheusRule is a copy, since kustomize takes nothing from outside its directory."""
    for rule in build.all("PrometheusRule"):
        if rule["spec"]["groups"] != rules_of(root):
            yield f"PrometheusRule {name(rule)}: is not what deploy/prometheus/rules says; deploy/manifests/check.py --write-rules copies it"


def adapted(builds: list, values: dict):
    """Every metric that an autoscaler asks Kubernetes for is one that the adapter is told to make."""
    made = {rule["name"]["as"] for kind in ("custom", "external") for rule in values["rules"][kind]}
    for build in builds:
        for scaler in build.all("HorizontalPodAutoscaler"):
            for metric in scaler["spec"]["metrics"]:
                wanted = (metric.get("pods") or metric.get("external") or {}).get("metric", {}).get("name")
                if wanted and wanted not in made:
                    yield f"HorizontalPodAutoscaler {name(scaler)}: the adapter's values.yaml makes no {wanted}"


def asked_of_prometheus(builds: list, values: dict) -> set:
    """The series that autoscalers live on, by whichever way."""
    queries = [rule["seriesQuery"] for kind in ("custom", "external") for rule in values["rules"][kind]]
    queries += [trigger["metadata"].get("query", "") for build in builds for it in build.all("ScaledObject") for trigger in it["spec"]["triggers"]]
    return {series for query in queries for series in re.findall(r"confab_\w+", query)}


CHECKS = (unsticky, referred, guarded, scaled, affordable, pictured)
