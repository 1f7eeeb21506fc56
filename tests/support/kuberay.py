"""What KubeRay 1.7 refuses of a RayJob or RayCluster that no schema holds, and what Ray and its operator agree on.

It follows `ray-operator/controllers/ray/utils/validation.go` at v1.7.0, for what these manifests use; the names of its
limits are those of `constant.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

MAX_RAY_CLUSTER_NAME_LENGTH: Final = 53
MAX_RAY_JOB_NAME_LENGTH: Final = MAX_RAY_CLUSTER_NAME_LENGTH - 6
DNS_1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
MODES: Final = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
TOKEN_SINCE: Final = (2, 52, 0)


def refusals(document: dict[str, Any]) -> list[str]:
    """Why the operator would refuse a RayJob or a RayCluster; nothing for other kinds."""
    if document["kind"] == "RayJob":
        return [*_of_name(document, MAX_RAY_JOB_NAME_LENGTH), *_of_job(document["spec"])]
    if document["kind"] == "RayCluster":
        return [*_of_name(document, MAX_RAY_CLUSTER_NAME_LENGTH), *_of_cluster(document["spec"])]
    return []


def _of_name(document: dict[str, Any], longest: int) -> Iterator[str]:
    name = document["metadata"]["name"]
    if len(name) > longest:
        yield f"name: more than {longest} characters"
    if len(name) > 63 or not DNS_1035.fullmatch(name):
        yield "name: no DNS-1035 label"


def _of_job(spec: dict[str, Any]) -> Iterator[str]:
    mode, cluster = spec.get("submissionMode", "K8sJobMode"), spec.get("rayClusterSpec")
    shut, chosen = spec.get("shutdownAfterJobFinishes", False), spec.get("clusterSelector")
    if mode not in MODES:
        yield "submissionMode: none of its four"
    if spec.get("suspend") and not shut:
        yield "suspend: needs shutdownAfterJobFinishes"
    if spec.get("suspend") and chosen:
        yield "suspend: not with clusterSelector"
    ttl = spec.get("ttlSecondsAfterFinished", 0)
    if ttl < 0 or (ttl > 0 and not shut):
        yield "ttlSecondsAfterFinished: needs shutdownAfterJobFinishes, and is not negative"
    if cluster is None and not chosen:
        yield "rayClusterSpec: it or clusterSelector"
    again = spec.get("backoffLimit", 0)
    if again < 0:
        yield "backoffLimit: negative"
    if again > 0 and mode == "InteractiveMode":
        yield "backoffLimit: not in InteractiveMode"
    if again > 0 and chosen:
        yield "backoffLimit: not with clusterSelector"
    if mode == "SidecarMode":
        if chosen:
            yield "clusterSelector: not in SidecarMode"
        if "submitterPodTemplate" in spec:
            yield "submitterPodTemplate: not in SidecarMode"
        if "submitterConfig" in spec:
            yield "submitterConfig: not in SidecarMode"
        if cluster and _restart(cluster["headGroupSpec"]) not in (None, "Never"):
            yield "restartPolicy: Never or none in SidecarMode"
    for name in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(name, 1) <= 0:
            yield f"{name}: not positive"
    if cluster is not None:
        if cluster.get("authOptions", {}).get("enableK8sTokenAuth"):
            yield "authOptions: no enableK8sTokenAuth in a RayJob"
        yield from _of_cluster(cluster)


def _of_cluster(spec: dict[str, Any]) -> Iterator[str]:
    grows = bool(spec.get("enableInTreeAutoscaling"))
    second = spec.get("autoscalerOptions", {}).get("version") == "v2"
    head, workers = spec["headGroupSpec"], spec.get("workerGroupSpecs", [])
    for group in (head, *workers):
        if not group["template"]["spec"].get("containers"):
            yield "containers: a group has none"
            return
        counted = {"num-cpus", "num-gpus", "memory", "resources"} & set(group.get("rayStartParams", {}))
        if counted and group.get("resources"):
            yield "resources: in rayStartParams or in the group, not in both"
        if grows and second and _restart(group) not in (None, "Never"):
            yield "restartPolicy: Never or none with autoscaler v2"
    for group in workers:
        least, most = group.get("minReplicas"), group.get("maxReplicas")
        if not grows and (least is None or most is None):
            yield "minReplicas, maxReplicas: both, without an autoscaler"
        if (least or 0) < 0 or (most or 0) < 0 or (None not in (least, most) and least > most):
            yield "minReplicas, maxReplicas: not negative, and in order"
        if group.get("idleTimeoutSeconds") is not None and not second:
            yield "idleTimeoutSeconds: of a group, with autoscaler v2 only"
    env = {one["name"] for one in head["template"]["spec"]["containers"][0].get("env", [])}
    if "RAY_enable_autoscaler_v2" in env and (not grows or "version" in spec.get("autoscalerOptions", {})):
        yield "RAY_enable_autoscaler_v2: by autoscalerOptions.version"
    auth = spec.get("authOptions", {})
    if auth.get("mode") == "token":
        version = tuple(int(part) for part in re.findall(r"\d+", spec.get("rayVersion", "0"))[:3])
        if version < TOKEN_SINCE:
            yield "authOptions.mode: token wants a rayVersion of 2.52.0 or later"
    elif auth.get("enableK8sTokenAuth"):
        yield "authOptions: enableK8sTokenAuth wants mode token"


def disagreements(spec: dict[str, Any], pinned: str) -> list[str]:
    """Where a cluster's `rayVersion` or an image is not of the Ray that the image's requirements pin."""
    groups = (spec["headGroupSpec"], *spec.get("workerGroupSpecs", []))
    images = [one["image"] for group in groups for one in group["template"]["spec"]["containers"]]
    wrong = [f"image {image}: not of Ray {pinned}" for image in images if not image.endswith(f"-ray{pinned}")]
    if spec.get("rayVersion") != pinned:
        wrong.append(f"rayVersion {spec.get('rayVersion')}: not {pinned}")
    return wrong


def _restart(group: dict[str, Any]) -> str | None:
    policy = group["template"]["spec"].get("restartPolicy")
    return None if policy is None else str(policy)
