"""Proves that the checks bite: breaks one thing at a time in a copy of the manifests, and expects the complaint that fits it.

    prove.py --programs target/test/bin
"""

import argparse
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import containers
from check import of_clusters, of_containers
from programs import Programs

GATEWAY, WORKER, MIGRATE = "k8s/base/gateway.yaml", "k8s/base/worker.yaml", "k8s/base/migrate.yaml"
SETTINGS, POLICY = "k8s/base/kustomization.yaml", "k8s/base/network-policy.yaml"
DEV, PRODUCTION = "k8s/overlays/dev", "k8s/overlays/production"
ADAPTER, KEDA, MONITORING = "k8s/components/prometheus-adapter", "k8s/components/keda", "k8s/components/monitoring"
COMPOSE, DOCKERFILE, NGINX = "deploy/compose.yaml", "deploy/Dockerfile", "deploy/nginx/confab.conf"

# File, what stands there, what is written instead, and a part of the complaint.
BREAKS = [
    # Schemas.
    (GATEWAY, "minReadySeconds: 45", "minReadySecond: 45", "minReadySecond"),
    (GATEWAY, "maxSurge: 1", "maxSurge: [1]", "maxSurge"),
    (f"{KEDA}/gateway.yaml", "pollingInterval: 15", "pollingIntervall: 15", "pollingIntervall"),
    (f"{KEDA}/worker.yaml", "maxReplicaCount: 16", "maxReplicaCount: many", "many"),
    (f"{MONITORING}/service-monitors.yaml", "scrapeTimeout: 5s", "scrapeTimeout: five", "scrapeTimeout"),
    (f"{PRODUCTION}/priority.yaml", "kind: PriorityClass", "kind: PriorityClas", "no such kind"),
    (f"{PRODUCTION}/kustomization.yaml", "- ingress.yaml", "- ingres.yaml", "kustomize:"),
    # Rights.
    (GATEWAY, "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"),
    (WORKER, "runAsUser: 65532", "runAsUser: 0", "runAsUser"),
    (WORKER, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRootFilesystem"),
    (MIGRATE, "drop: [ALL]", "drop: [NET_RAW]", "capabilities"),
    (MIGRATE, "type: RuntimeDefault", "type: Unconfined", "seccompProfile"),
    (WORKER, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "allowPrivilegeEscalation"),
    (GATEWAY, "automountServiceAccountToken: false", "automountServiceAccountToken: true", "automountServiceAccountToken"),
    (GATEWAY, "enableServiceLinks: false", "enableServiceLinks: true", "enableServiceLinks"),
    (f"{DEV}/stores.yaml", "name: tmp, emptyDir: {}", "name: tmp, hostPath: { path: /tmp }", "volume tmp"),
    (WORKER, "limits: { memory: 512Mi }", "limits: { cpu: 1 }", "limit of memory"),
    # How the programs are started, asked and ended.
    (GATEWAY, "args: [run]", "args: [serve]", "refuses this"),
    (MIGRATE, "args: [migrate]", "args: [migrate, --fast]", "refuses this"),
    (SETTINGS, "CONFAB_DRAIN__SPREAD_SECONDS=30", "CONFAB_DRAIN__SPREAD_SECOND=30", "drain.spread_second"),
    (SETTINGS, "CONFAB_DRAIN__SPREAD_SECONDS=30", "CONFAB_DRAIN_SPREAD_SECONDS=30", "CONFAB_DRAIN_SPREAD_SECONDS"),
    (SETTINGS, "CONFAB_DRAIN__LIMIT_SECONDS=60", "CONFAB_DRAIN__LIMIT_SECONDS=soon", "refuses this"),
    (GATEWAY, "name: JWT_SECRET, valueFrom", "name: JWT_SECRETS, valueFrom", "nothing reads JWT_SECRETS"),
    (GATEWAY, 'name: PORT, value: "3000"', 'name: PORT, value: "3001"', "its ports are"),
    (WORKER, "0.0.0.0:9100", "0.0.0.0:9101", "its ports are"),
    (WORKER, "0.0.0.0:9100", "127.0.0.1:9100", "cannot reach"),
    (GATEWAY, "$(POD_IP):9100", "$(POD_IP):9101", "would look for it"),
    (GATEWAY, "fieldPath: status.podIP", "fieldPath: status.hostIP", "refuses this"),
    (GATEWAY, "livenessProbe:\n            httpGet: { path: /livez", "livenessProbe:\n            httpGet: { path: /readyz", "livenessProbe"),
    (GATEWAY, "readinessProbe:\n            httpGet: { path: /readyz, port: internal", "readinessProbe:\n            httpGet: { path: /readyz, port: public", "readinessProbe"),
    (WORKER, "httpGet: { path: /readyz", "httpGet: { path: /health", "readinessProbe"),
    (GATEWAY, "terminationGracePeriodSeconds: 85", "terminationGracePeriodSeconds: 74", "terminationGracePeriodSeconds 74"),
    (GATEWAY, "sleep: { seconds: 10 }", "sleep: { seconds: 1 }", "preStop"),
    (GATEWAY, "minReadySeconds: 45", "minReadySeconds: 35", "drain at once"),
    (SETTINGS, "DRAIN__SPREAD_SECONDS=30", "DRAIN__SPREAD_SECONDS=55", "drain.limit_seconds"),
    (WORKER, "terminationGracePeriodSeconds: 20", "terminationGracePeriodSeconds: 10", "terminationGracePeriodSeconds 10"),
    # What one object says of another.
    (GATEWAY, "sessionAffinity: None", "sessionAffinity: ClientIP", "sessionAffinity"),
    (f"{PRODUCTION}/ingress.yaml", "nginx.org/client-max-body-size: 2m", "nginx.org/lb-method: ip_hash", "annotation"),
    (f"{PRODUCTION}/ingress.yaml", "nginx.org/websocket-services: confab-gateway", "nginx.org/websocket-services: gateway", "there is no Service gateway"),
    (f"{PRODUCTION}/ingress.yaml", "port: { name: public }", "port: { name: http }", "Ingress confab"),
    (WORKER, "name: confab-worker-settings", "name: confab-settings", "no ConfigMap"),
    (GATEWAY, "key: REDIS_URL", "key: REDIS", "no key REDIS"),
    (GATEWAY, "name: REDIS_URL, valueFrom: { secretKeyRef: { name: confab-secrets, key: REDIS_URL } }", "name: REDIS_URL, value: redis://redis:6379", "a Secret is meant"),
    (GATEWAY, "targetPort: public", "targetPort: http", "has a port http"),
    (WORKER, "publishNotReadyAddresses: true\n  selector: { app.kubernetes.io/name: confab-worker }", "publishNotReadyAddresses: true\n  selector: { app: confab-worker }", "selects no pod"),
    (f"{MONITORING}/service-monitors.yaml", 'confab/metrics: "true"', 'confab/metrics: "yes"', "ServiceMonitor"),
    (f"{PRODUCTION}/kustomization.yaml", "priorityClassName, value: confab", "priorityClassName, value: high", "no PriorityClass high"),
    (POLICY, "policyTypes: [Ingress, Egress]\n---", "policyTypes: [Egress]\n---", "leave it open"),
    (POLICY, "- podSelector: { matchLabels: { app.kubernetes.io/name: confab-gateway } }\n        - namespaceSelector", "- namespaceSelector: {}\n        - namespaceSelector", "opens the internal listener"),
    (POLICY, "{ protocol: TCP, port: public }", "{ protocol: TCP, port: http }", "has a port http"),
    (f"{PRODUCTION}/store-policy.yaml", "port: 6379", "port: 6380", "may not reach ports [6379]"),
    (POLICY, "169.254.0.0/16", "169.254.169.254/32", "finds no names"),
    # Autoscaling.
    (f"{KEDA}/gateway.yaml", 'ignoreNullValues: "false"', 'ignoreNullValues: "true"', "takes no answer for nothing to do"),
    (f"{ADAPTER}/gateway.yaml", "maxReplicas: 20", "maxReplicas: 21", "needs room for 536"),
    (f"{KEDA}/worker.yaml", "maxReplicaCount: 16", "maxReplicaCount: 15", "needs room for 512"),
    (f"{PRODUCTION}/kustomization.yaml", "MAX_CONNECTIONS=16", "MAX_CONNECTIONS=20", "needs room for 612"),
    (f"{PRODUCTION}/kustomization.yaml", "MAX_CONNECTIONS=8", "MAX_CONNECTIONS=2", "refuses this"),
    (f"{ADAPTER}/worker.yaml", "maxReplicas: 16", "maxReplicas: 17", "more than there are partitions"),
    (f"{KEDA}/worker.yaml", "maxReplicaCount: 16", "maxReplicaCount: 17", "more than there are partitions"),
    (f"{ADAPTER}/gateway.yaml", "stabilizationWindowSeconds: 1800", "stabilizationWindowSeconds: 60", "scaled down faster"),
    (f"{KEDA}/gateway.yaml", "value: 1, periodSeconds: 300", "value: 5, periodSeconds: 300", "scaled down faster"),
    (f"{ADAPTER}/gateway.yaml", 'averageValue: "10000"', 'averageValue: "19000"', "has room for"),
    (f"{ADAPTER}/gateway.yaml", "minReplicas: 3", "minReplicas: 1", "at least 3"),
    (f"{ADAPTER}/gateway.yaml", "name: confab_gateway_connections", "name: confab_gateway_clients", "values.yaml makes no"),
    (f"{KEDA}/gateway.yaml", 'namespace="confab"', 'namespace="chat"', "another namespace"),
    (f"{ADAPTER}/worker.yaml", "kind: Deployment, name: confab-worker", "kind: Deployment, name: confab-gateway", "2 autoscalers"),
    (WORKER, "maxUnavailable: 1\n  unhealthy", "maxUnavailable: 0\n  unhealthy", "lets one go at a time"),
    (f"{PRODUCTION}/kustomization.yaml", "newName: registry.example.com/confab-worker, newTag: SET-ME", "newName: registry.example.com/confab-worker, newTag: latest", "another one tomorrow"),
    (f"{MONITORING}/rules.yaml", "for: 30s", "for: 35s", "is not what deploy/prometheus/rules says"),
    # The image.
    (DOCKERFILE, "WORKDIR /src", "WORKDIRS /src", "Dockerfile:"),
    (DOCKERFILE, "rust:1.95-bookworm", "rust:1.80-bookworm", "not Rust"),
    (DOCKERFILE, "debian:bookworm-slim", "debian:bullseye-slim", "another C library"),
    (DOCKERFILE, "USER 65532:65532", "USER nobody", "USER nobody"),
    (DOCKERFILE, "STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL", "STOPSIGNAL"),
    (DOCKERFILE, '"/usr/local/bin/confab-worker", "healthcheck"', '"/usr/local/bin/confab-worker", "health"', "HEALTHCHECK"),
    (DOCKERFILE, "COPY --from=build /programs/confab-worker /usr/local/bin/confab-worker", "COPY --from=build /programs/confab-worker /usr/bin/confab-worker", "is not copied"),
    (DOCKERFILE, "EXPOSE 3000", "EXPOSE 8080", "exposes"),
    (DOCKERFILE, "# Who runs it says how others reach this listener: CONFAB_CLUSTER__ADVERTISE, as host:port.\nENV CONFAB_HTTP__INTERNAL_LISTEN", "ENV CONFAB_HTTP__INTERNAL_LISTENS", "internal_listens"),
    ("deploy/Dockerfile.dockerignore", "!shared\n", "", "keeps shared"),
    # The composition.
    (COMPOSE, "restart: unless-stopped", "restart: 7", "compose.yaml:"),
    (COMPOSE, "JWT_SECRET: ${JWT_SECRET:?set it in deploy/.env, see deploy/env.example}", "JWT_SECRET: ${JWT_SECRET:-secret}", "JWT_SECRET"),
    (COMPOSE, "${CONFAB_PORT:-8080}", "${CONFAB_PROT:-8080}", "CONFAB_PROT"),
    (COMPOSE, "CONFAB_HTTP__TRUSTED_PROXIES: &", "CONFAB_HTTP__TRUSTED_PROXY: &", "trusted_proxy"),
    (COMPOSE, "&at-nginx 10.213.47.10", "&at-nginx 10.213.48.10", "is no address of the network"),
    (COMPOSE, "ipv4_address: *at-nginx", "ipv4_address: 10.213.47.9", "does not trust nginx"),
    (COMPOSE, "ipv4_address: *at-gateway-2", "ipv4_address: 10.213.47.13", "while gateway-2 is away"),
    (COMPOSE, "    <<: *gateway\n    pull_policy: never", "    <<: *gateway", "fetched from a registry"),
    (COMPOSE, "    <<: *worker\n    pull_policy: never", "    <<: *worker\n    build: { context: .., dockerfile: deploy/Dockerfile, target: worker }", "is built for 3 services"),
    (COMPOSE, "CONFAB_CLUSTER__ADVERTISE: 10.213.48.12:9100", "CONFAB_CLUSTER__ADVERTISE: 10.213.48.11:9100", "would look for it"),
    (COMPOSE, "CONFAB_HTTP__INTERNAL_LISTEN: 10.213.48.12:9100", "CONFAB_HTTP__INTERNAL_LISTEN: 0.0.0.0:9100", "not on the network inside alone"),
    (COMPOSE, "inside: { ipv4_address: 10.213.48.12 }", "inside: { ipv4_address: 10.213.49.12 }", "is no address of the network"),
    ("deploy/prometheus/prometheus.yml", "gateway-1:9100, gateway-2:9100", "gateway-1:9100", "Prometheus does not ask it"),
    ("deploy/prometheus/prometheus.yml", "worker-2:9100", "worker-2:9100, worker-3:9100", "there is no container worker-3"),
    (COMPOSE, "stop_grace_period: 40s", "stop_grace_period: 20s", "stop_grace_period"),
    (COMPOSE, "healthcheck, --ready]\n    interval: 5s\n    timeout: 3s\n    start_period: 20s\n  # More than drain", "healthcheck, --quick]\n    interval: 5s\n    timeout: 3s\n    start_period: 20s\n  # More than drain", "refuses this"),
    (COMPOSE, "command: [migrate]", "command: [migrates]", "refuses this"),
    (COMPOSE, "target: worker", "target: workers", "no stage workers"),
    (COMPOSE, "./nginx:/etc/nginx:ro", "./proxy:/etc/nginx:ro", "there is no deploy/proxy"),
    (COMPOSE, "127.0.0.1:${GRAFANA_PORT:-3001}:3000", "${GRAFANA_PORT:-3001}:3000", "published to everybody"),
    (COMPOSE, "read_only: true", "read_only: false", "read_only"),
    (COMPOSE, 'user: "999:1000"', 'user: "0:0"', "user is not"),
    (COMPOSE, "REDIS_URL: redis://redis:6379\n  # nginx", "REDIS_URL: redis://cache:6379\n  # nginx", "does not reach"),
    (COMPOSE, "soft: 65536", "soft: 1024", "fewer files"),
    ("deploy/env.example", "CONFAB_PORT=8080", "CONFAB_PORTS=8080", "CONFAB_PORT"),
    (NGINX, "keepalive 256;", "ip_hash;", "keeps clients on one gateway"),
    (NGINX, "server gateway-2:3000", "server gateway-3:3000", "gateway-3"),
    (NGINX, "server_tokens off;", "server_tokens maybe;", "nginx:"),
    (NGINX, "listen 8080", "listen 8081", "is not the one that is published"),
    ("deploy/nginx/nginx.conf", "worker_processes 2;", "worker_processes auto;", "as many workers"),
]


def looked(file: str, root: Path, programs: Programs):
    """What the checks say that may notice a change of this file. One build shows it: making all of them each time would take minutes."""
    if not file.startswith("k8s/"):
        return of_containers(root, programs)
    if file.startswith(DEV):
        return of_clusters(root, programs, wanted=("dev",))
    return of_clusters(root, programs, wanted=("production with KEDA" if file.startswith(KEDA) else "production",))


def unheard(text: str) -> list:
    """The tools that fail without a word and are taken for content."""
    checks, usual = {"hadolint": containers.linted, "check-jsonschema": containers.schematic}, containers.TOOLS
    missed = []
    with tempfile.TemporaryDirectory() as place:
        containers.TOOLS = Path(place)
        for tool, check in checks.items():
            path = containers.TOOLS / tool
            path.write_text("#!/bin/sh\nexit 3\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
            if "ended with 3" not in str(check(f"# {tool}\n{text}")):
                missed.append(tool)
    containers.TOOLS = usual
    return missed


def main() -> int:
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description="Breaks the manifests, one thing at a time, and expects the check to notice.")
    parser.add_argument("--programs", type=Path, required=True)
    arguments = parser.parse_args()
    programs = Programs(arguments.programs.resolve(), root)
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        for directory in ("k8s", "deploy"):
            shutil.copytree(root / directory, copy / directory, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("Cargo.toml", *(f"{member}/Cargo.toml" for member in ("gateway", "gateway/protocol", "loadtest", "shared", "worker"))):
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / file, copy / file)
        usual = {*of_containers(copy, programs), *of_clusters(copy, programs)}
        for complaint in usual:
            print(f"complained about before anything is broken: {complaint}")
            missed += 1
        for file, before, after, expected in BREAKS:
            path = copy / file
            whole = path.read_text()
            if before not in whole:
                print(f"nothing to break: {file} has no {before!r}")
                missed += 1
                continue
            path.write_text(whole.replace(before, after, 1))
            found = set(looked(file, copy, programs)) - usual
            path.write_text(whole)
            if not any(expected in complaint for complaint in found):
                print(f"not noticed: {file}: {before!r} -> {after!r}; complaints: {sorted(found)}")
                missed += 1
    for tool in unheard("FROM scratch\n"):
        print(f"not noticed: {tool} fails without a word")
        missed += 1
    print(f"{len(BREAKS)} breaks, {missed} not noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
