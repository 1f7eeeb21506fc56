"""The Kubernetes manifests as `kubectl kustomize` renders them, and what this house asks of them."""

from __future__ import annotations

import copy
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

K8S: Final = Path(__file__).parents[2] / "k8s"
OVERLAYS: Final = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
PRIVATE: Final = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"}
SECRETS: Final = ("model-key", "s3-credentials")
"""Made by hand, from files: they stand in no manifest."""
IN_VAIN: Final = {2, 3, 8, 9, 10, 70}
"""The exit codes after which another attempt comes to the same (docs/guides/resume.md)."""
_KEY: Final = re.compile(r"(?i)key|token|secret|password")
_KEY_FILES: Final = ("AWS_SHARED_CREDENTIALS_FILE",)


@functools.cache
def rendered(overlay: str) -> str:
    """An overlay as text; where there is no kubectl, the test is skipped."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    done = subprocess.run(
        ["kubectl", "kustomize", str(K8S / "overlays" / overlay)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(overlay: str) -> list[dict[str, Any]]:
    """An overlay's objects, the caller's own."""
    return copy.deepcopy(_read(overlay))


@functools.cache
def _read(overlay: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(rendered(overlay)) if one]


def ray_pinned() -> str:
    """The Ray of the image."""
    found = re.search(r"^ray(?:\[\w+\])?==([\w.]+)", (K8S / "requirements.txt").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def schemas() -> Path:
    """The folder that POPULACE_CRD_SCHEMAS names, of JSON schemas of custom resources, `<Kind>_<version>.json`.

    They are made from the releases' CRDs: of each version of a CustomResourceDefinition's YAML (KubeRay's
    `helm-chart/kuberay-operator/crds`, prometheus-operator's `example/prometheus-operator-crd`) take `openAPIV3Schema`,
    set `additionalProperties: false` on each object that has properties and says nothing of it, let
    `x-kubernetes-int-or-string` be a number or text, and write it as JSON.
    """
    folder = os.environ.get("POPULACE_CRD_SCHEMAS")
    if not folder:
        pytest.skip("POPULACE_CRD_SCHEMAS names no folder of schemas; tests/support/manifests.py says how to make them")
    return Path(folder)


def clusters(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The RayCluster that an object is or makes."""
    if document["kind"] == "RayCluster":
        return [document["spec"]]
    return [document["spec"]["rayClusterSpec"]] if document["kind"] == "RayJob" else []


def pods(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The templates of pods in an object, each with its place, and with the labels that the operator adds."""
    name = f"{document['kind']}/{document['metadata']['name']}"
    if document["kind"] in ("Deployment", "Job"):
        yield name, document["spec"]["template"]
    if "submitterPodTemplate" in document.get("spec", {}):
        yield f"{name} submitter", document["spec"]["submitterPodTemplate"]
    for cluster in clusters(document):
        groups = [("head", cluster["headGroupSpec"]), *(("worker", one) for one in cluster.get("workerGroupSpecs", []))]
        for kind, group in groups:
            template = group["template"]
            labels = {**template["metadata"]["labels"], "ray.io/node-type": kind}
            yield f"{name} {kind}", {**template, "metadata": {"labels": labels}}


def faults(objects: list[dict[str, Any]]) -> list[str]:
    """What this house would not apply."""
    templates = [one for document in objects for one in pods(document)]
    return [
        *(fault for place, template in templates for fault in _of_pod(place, template, objects)),
        *(fault for document in objects for fault in _of_object(document, templates)),
        *_of_network(objects),
    ]


def _of_pod(place: str, template: dict[str, Any], objects: list[dict[str, Any]]) -> Iterator[str]:
    spec = template["spec"]
    own = spec.get("securityContext", {})
    if own.get("runAsNonRoot") is not True or not own.get("runAsUser") or not own.get("runAsGroup"):
        yield f"{place}: may run as root"
    if own.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{place}: has no seccomp profile"
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for volume in volumes.values():
        yield from _of_volume(place, volume, objects)
    for container in spec["containers"]:
        at = f"{place}, {container['name']}"
        yield from _of_container(at, container)
        for source in container.get("envFrom", []):
            if "secretRef" in source:
                yield f"{at}: a secret in its environment"
            elif not _there(objects, "ConfigMap", source["configMapRef"]["name"]):
                yield f"{at}: no ConfigMap {source['configMapRef']['name']}"
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{at}: no volume {mount['name']}"


def _of_container(at: str, container: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("readOnlyRootFilesystem") is not True:
        yield f"{at}: its root file system can be written"
    if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{at}: may gain rights"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
        yield f"{at}: asks for no resources"
    if not re.search(r":[\w.\-]+$|@sha256:", container["image"]) or container["image"].endswith(":latest"):
        yield f"{at}: image {container['image']} is not pinned"
    for one in container.get("env", []):
        if (_KEY.search(one["name"]) or "secretKeyRef" in one.get("valueFrom", {})) and one["name"] not in _KEY_FILES:
            yield f"{at}: a key in its environment ({one['name']})"


def _of_volume(place: str, volume: dict[str, Any], objects: list[dict[str, Any]]) -> Iterator[str]:
    if "configMap" in volume and not _there(objects, "ConfigMap", volume["configMap"]["name"]):
        yield f"{place}: no ConfigMap {volume['configMap']['name']}"
    if "persistentVolumeClaim" in volume:
        claim = volume["persistentVolumeClaim"]["claimName"]
        if not _there(objects, "PersistentVolumeClaim", claim):
            yield f"{place}: no claim {claim}"
    if "secret" in volume and volume["secret"]["secretName"] not in SECRETS:
        yield f"{place}: no secret {volume['secret']['secretName']}"
    if "hostPath" in volume:
        yield f"{place}: a folder of the node"


def _of_object(document: dict[str, Any], templates: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    kind, spec = document["kind"], document.get("spec", {})
    name = f"{kind}/{document['metadata']['name']}"
    selector = spec["selector"] if kind == "Service" else None
    if kind in ("PodDisruptionBudget", "PodMonitor", "Deployment"):
        selector = spec["selector"]["matchLabels"]
    if selector is not None:
        chosen = [(place, one) for place, one in templates if selector.items() <= one["metadata"]["labels"].items()]
        if not chosen:
            yield f"{name}: selects no pod"
        counted = isinstance(spec.get("minAvailable"), int) and "maxUnavailable" not in spec
        if kind == "PodDisruptionBudget" and not counted and any(place.startswith("Ray") for place, _ in chosen):
            yield f"{name}: Ray's pods have no scale, so it can only say how many must stay"
        boxes = [box for _, one in chosen for box in one["spec"]["containers"]]
        open_ports = {port["name"] for box in boxes for port in box.get("ports", ())}
        named = [one["port"] for one in spec.get("podMetricsEndpoints", [])]
        named += [one["targetPort"] for one in spec.get("ports", []) if kind == "Service"]
        yield from (f"{name}: no port {port}" for port in named if port not in open_ports)
    if kind == "RayJob" and spec.get("backoffLimit") and "--or-resume" not in spec["entrypoint"].split():
        yield f"{name}: what is tried again would begin anew"
    if kind == "RayJob" and "runtimeEnvYAML" in spec:
        yield f"{name}: a runtime environment is kept by Ray, and shown in its dashboard"
    if kind == "Job" and "populace" in spec["template"]["spec"]["containers"][0]["image"]:
        yield from _of_job(name, spec)


def _of_job(name: str, spec: dict[str, Any]) -> Iterator[str]:
    words = spec["template"]["spec"]["containers"][0]["args"]
    if words[:2] != ["experiment", "run"] and "--or-resume" not in words:
        yield f"{name}: what is tried again would begin anew"
    if spec.get("completionMode") == "Indexed" and not any(
        word.startswith("--out=") and "$(JOB_COMPLETION_INDEX)" in word for word in words
    ):
        yield f"{name}: its pods would share a folder"
    if spec.get("podReplacementPolicy") != "Failed":
        yield f"{name}: attempts may overlap"
    codes = [set(rule["onExitCodes"]["values"]) for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    if codes != [IN_VAIN]:
        yield f"{name}: what would fail again is tried again"


def _of_network(objects: list[dict[str, Any]]) -> Iterator[str]:
    policies = [one for one in objects if one["kind"] == "NetworkPolicy"]
    if not any(
        one["spec"]["podSelector"] == {}
        and set(one["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not one["spec"].get("ingress")
        and not one["spec"].get("egress")
        for one in policies
    ):
        yield "NetworkPolicy: nothing denies by default"
    for policy in policies:
        name = f"NetworkPolicy/{policy['metadata']['name']}"
        for way, ends in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(way, []):
                if not rule.get(ends):
                    yield f"{name}: {way} for everybody"
                for end in rule.get(ends, []):
                    if end.get("namespaceSelector") == {} and "podSelector" not in end:
                        yield f"{name}: {way} for the whole cluster"
                    block = end.get("ipBlock")
                    if block and (not rule.get("ports") or (block["cidr"] == "0.0.0.0/0" and not _outside(block))):
                        yield f"{name}: {way} for any address"


def _outside(block: dict[str, Any]) -> bool:
    return set(block.get("except", ())) >= PRIVATE


def _there(objects: list[dict[str, Any]], kind: str, name: str) -> bool:
    return any(one["kind"] == kind and one["metadata"]["name"] == name for one in objects)
