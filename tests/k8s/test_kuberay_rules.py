"""The operator's own rules, which no schema holds: what is shipped keeps them, and each broken manifest is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.kuberay import MODES, disagreements, refusals
from support.manifests import OVERLAYS, clusters, documents, ray_pinned

Break = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_operator_takes_what_is_shipped(overlay):
    found = documents(overlay)
    assert [refusals(one) for one in found] == [[]] * len(found)
    assert [disagreements(one, ray_pinned()) for document in found for one in clusters(document)] == [
        [] for document in found for _ in clusters(document)
    ]


def job() -> dict[str, Any]:
    return next(one for one in documents("run-pvc") if one["kind"] == "RayJob")


def cluster() -> dict[str, Any]:
    return next(one for one in documents("cluster") if one["kind"] == "RayCluster")


def chosen(spec: dict[str, Any]) -> None:
    del spec["rayClusterSpec"], spec["backoffLimit"]
    spec["clusterSelector"] = {"ray.io/cluster": "mine"}


def sidecar(spec: dict[str, Any]) -> None:
    spec["submissionMode"] = "SidecarMode"
    del spec["submitterPodTemplate"]


def head(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    return found


BROKEN_JOBS: dict[str, tuple[Break, str]] = {
    "suspended, and not shut down": (
        lambda s: s.update(suspend=True, shutdownAfterJobFinishes=False, ttlSecondsAfterFinished=0),
        "suspend: needs",
    ),
    "kept for a while, and not shut down": (lambda s: s.update(shutdownAfterJobFinishes=False), "ttlSeconds"),
    "tried again by hand": (lambda s: s.update(submissionMode="InteractiveMode"), "backoffLimit: not in Interactive"),
    "tried again on a cluster that was chosen": (
        lambda s: (chosen(s), s.update(backoffLimit=1)),
        "backoffLimit: not with clusterSelector",
    ),
    "suspended on a cluster that was chosen": (lambda s: (chosen(s), s.update(suspend=True)), "suspend: not with"),
    "without a cluster": (lambda s: s.pop("rayClusterSpec"), "rayClusterSpec: it or"),
    "a negative number of attempts": (lambda s: s.update(backoffLimit=-1), "backoffLimit: negative"),
    "a sidecar with a template": (lambda s: s.update(submissionMode="SidecarMode"), "submitterPodTemplate: not in"),
    "a sidecar with a submitter": (
        lambda s: (sidecar(s), s.update(submitterConfig={"backoffLimit": 1})),
        "submitterConfig: not in",
    ),
    "a sidecar on a cluster that was chosen": (lambda s: (sidecar(s), chosen(s)), "clusterSelector: not in Sidecar"),
    "a sidecar beside a head that restarts": (
        lambda s: (sidecar(s), head(s).update(restartPolicy="Always")),
        "restartPolicy: Never or none in SidecarMode",
    ),
    "a mode that there is not": (lambda s: s.update(submissionMode="Batch"), "submissionMode: none of its four"),
    "no time at all": (lambda s: s.update(activeDeadlineSeconds=0), "activeDeadlineSeconds: not positive"),
    "a token of Kubernetes": (
        lambda s: s["rayClusterSpec"]["authOptions"].update(enableK8sTokenAuth=True),
        "no enableK8sTokenAuth in a RayJob",
    ),
    "a cluster that is refused": (
        lambda s: s["rayClusterSpec"].update(rayVersion="2.51.9"),
        "token wants a rayVersion of 2.52.0",
    ),
}
BROKEN_CLUSTERS: dict[str, tuple[Break, str]] = {
    "a head that restarts": (
        lambda s: s["headGroupSpec"]["template"]["spec"].update(restartPolicy="OnFailure"),
        "restartPolicy: Never or none with autoscaler v2",
    ),
    "workers that restart": (
        lambda s: s["workerGroupSpecs"][0]["template"]["spec"].update(restartPolicy="Always"),
        "restartPolicy: Never or none with autoscaler v2",
    ),
    "a token before there were any": (lambda s: s.update(rayVersion="2.51.0"), "authOptions.mode: token"),
    "a token, and no version": (lambda s: s.pop("rayVersion"), "authOptions.mode: token"),
    "bounds out of order": (lambda s: s["workerGroupSpecs"][0].update(minReplicas=9), "in order"),
    "no bounds, and no autoscaler": (
        lambda s: (s.update(enableInTreeAutoscaling=False), s["workerGroupSpecs"][0].pop("maxReplicas")),
        "both, without an autoscaler",
    ),
    "resources twice": (
        lambda s: s["headGroupSpec"].update(resources={"CPU": "1"}),
        "in rayStartParams or in the group",
    ),
    "the autoscaler's version twice": (
        lambda s: s["headGroupSpec"]["template"]["spec"]["containers"][0]["env"].append(
            {"name": "RAY_enable_autoscaler_v2", "value": "1"}
        ),
        "by autoscalerOptions.version",
    ),
    "no container": (lambda s: s["headGroupSpec"]["template"]["spec"].update(containers=[]), "a group has none"),
    "a group that idles by itself": (
        lambda s: (s["autoscalerOptions"].update(version="v1"), s["workerGroupSpecs"][0].update(idleTimeoutSeconds=1)),
        "with autoscaler v2 only",
    ),
}


@pytest.mark.parametrize("how", BROKEN_JOBS)
def test_a_broken_job_is_caught(how):
    broken, (break_it, said) = job(), BROKEN_JOBS[how]
    break_it(broken["spec"])
    assert any(said in refusal for refusal in refusals(broken)), refusals(broken)


@pytest.mark.parametrize("how", BROKEN_CLUSTERS)
def test_a_broken_cluster_is_caught(how):
    broken, (break_it, said) = cluster(), BROKEN_CLUSTERS[how]
    break_it(broken["spec"])
    assert any(said in refusal for refusal in refusals(broken)), refusals(broken)


@pytest.mark.parametrize(
    ("name", "of_a_cluster", "of_a_job"),
    [
        ("a" * 47, [], []),
        ("a" * 48, [], ["name: more than 47 characters"]),
        ("a" * 53, [], ["name: more than 47 characters"]),
        ("a" * 54, ["name: more than 53 characters"], ["name: more than 47 characters"]),
        ("7-days", ["name: no DNS-1035 label"], ["name: no DNS-1035 label"]),
        ("my.run", ["name: no DNS-1035 label"], ["name: no DNS-1035 label"]),
        ("My-run", ["name: no DNS-1035 label"], ["name: no DNS-1035 label"]),
        ("run-", ["name: no DNS-1035 label"], ["name: no DNS-1035 label"]),
    ],
)
def test_names(name, of_a_cluster, of_a_job):
    for document, said in ((cluster(), of_a_cluster), (job(), of_a_job)):
        document["metadata"]["name"] = name
        assert refusals(document) == said


def test_each_of_the_four_modes_has_a_manifest_that_is_taken():
    for mode in MODES:
        document = job()
        document["spec"]["submissionMode"] = mode
        if mode == "SidecarMode":
            del document["spec"]["submitterPodTemplate"]
        if mode == "InteractiveMode":
            document["spec"]["backoffLimit"] = 0
        assert refusals(document) == [], mode


@pytest.mark.parametrize(
    "break_it",
    [
        lambda s: s.update(rayVersion="2.59.0"),
        lambda s: s.pop("rayVersion"),
        lambda s: s["headGroupSpec"]["template"]["spec"]["containers"][0].update(image="populace:0.1.0-ray2.59.0"),
        lambda s: s["workerGroupSpecs"][0]["template"]["spec"]["containers"][0].update(image="populace:0.1.0"),
    ],
    ids=["version", "no version", "the head's image", "the workers' image"],
)
def test_another_ray_than_the_pinned_one_is_caught(break_it):
    spec = cluster()["spec"]
    assert disagreements(spec, ray_pinned()) == []
    break_it(spec)
    assert len(disagreements(spec, ray_pinned())) == 1
