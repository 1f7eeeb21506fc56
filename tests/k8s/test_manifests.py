"""The Kubernetes manifests, checked without a cluster: rendered, against schemas, by the house's rules, by an API."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.manifests import K8S, OVERLAYS, clusters, documents, faults, pods, ray_pinned, schemas

from populace.data.societies import find_society
from populace.experiments.loading import find_experiment
from populace.experiments.planning import plan
from populace.settings import load_settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CUSTOM = ("ray.io", "monitoring.coreos.com")
KUBERNETES = "1.37"


def is_custom(document: dict[str, Any]) -> bool:
    return document["apiVersion"].partition("/")[0] in CUSTOM


def one_of(overlay: str, kind: str, name: str = "") -> dict[str, Any]:
    found = [one for one in documents(overlay) if one["kind"] == kind]
    return next(one for one in found if name in ("", one["metadata"]["name"]))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_holds_to_the_schemas_of_kubernetes(overlay):
    validate = pytest.importorskip("kubernetes_validate").validate
    core = [one for one in documents(overlay) if not is_custom(one)]
    assert len(core) > 5
    for one in core:
        validate(one, KUBERNETES, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_caught():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    job = one_of("seeds-pvc", "Job", "seeds")
    job["spec"]["backofLimitPerIndex"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="backofLimitPerIndex"):
        kubernetes_validate.validate(job, KUBERNETES, strict=True)


def custom_faults(document: dict[str, Any]) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema")
    version = document["apiVersion"].rpartition("/")[2]
    schema = json.loads((schemas() / f"{document['kind']}_{version}.json").read_text())
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document)]


@pytest.mark.parametrize("overlay", [one for one in OVERLAYS if one != "experiment-pvc"])  # which has none
def test_custom_resources_hold_to_the_schemas_of_their_operators(overlay):
    found = [one for one in documents(overlay) if is_custom(one)]
    assert found
    assert [custom_faults(one) for one in found] == [[] for _ in found]


@pytest.mark.parametrize(
    ("kind", "break_it", "said"),
    [
        ("RayJob", lambda s: s.update(backOffLimit=3), "backOffLimit"),
        ("RayJob", lambda s: s["rayClusterSpec"].pop("headGroupSpec"), "headGroupSpec"),
        ("PodMonitor", lambda s: s["podMetricsEndpoints"][0].update(every="5s"), "every"),
        (
            "PodMonitor",
            lambda s: s["podMetricsEndpoints"][0]["relabelings"][0].update(source_labels=[]),
            "source_labels",
        ),
        ("PrometheusRule", lambda s: s["groups"][0]["rules"][0].update(expression="1"), "expression"),
    ],
)
def test_a_field_that_an_operator_does_not_know_is_caught(kind, break_it, said):
    document = one_of("run-s3", kind)
    break_it(document["spec"])
    assert any(said in fault for fault in custom_faults(document))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_keeps_the_rules_of_the_house(overlay):
    assert faults(documents(overlay)) == []


def first_box(document: dict[str, Any]) -> dict[str, Any]:
    box: dict[str, Any] = next(pods(document))[1]["spec"]["containers"][0]
    return box


def policy(objects: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(one for one in objects if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == name)["spec"]


def of(kind: str, change: Callable[[dict[str, Any]], object]) -> Callable[[list[dict[str, Any]]], object]:
    """The change of the first object of this kind."""
    return lambda objects: change(next(one for one in objects if one["kind"] == kind))


def of_job(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[list[dict[str, Any]]], object]:
    """The change of the Job of this name."""
    return lambda objects: change(
        next(one for one in objects if (one["kind"], one["metadata"]["name"]) == ("Job", name))
    )


RULES: dict[str, tuple[str, Callable[[list[dict[str, Any]]], object]]] = {
    "may run as root": ("run-pvc", of("RayJob", lambda o: head(o)["securityContext"].pop("runAsNonRoot"))),
    "has no seccomp profile": ("run-pvc", of("RayJob", lambda o: head(o)["securityContext"].pop("seccompProfile"))),
    "its root file system can be written": (
        "run-pvc",
        of("Deployment", lambda o: first_box(o)["securityContext"].update(readOnlyRootFilesystem=False)),
    ),
    "may gain rights": ("run-pvc", of("RayJob", lambda o: first_box(o)["securityContext"].pop("capabilities"))),
    "asks for no resources": ("run-pvc", of("Deployment", lambda o: first_box(o).pop("resources"))),
    "is not pinned": ("run-pvc", of("RayJob", lambda o: first_box(o).update(image="populace:latest"))),
    "a key in its environment": (
        "run-pvc",
        of("RayJob", lambda o: head(o)["containers"][0]["env"].append({"name": "OPENAI_API_KEY", "value": "x"})),
    ),
    "a secret in its environment": (
        "run-pvc",
        of("RayJob", lambda o: head(o)["containers"][0]["envFrom"].append({"secretRef": {"name": "model-key"}})),
    ),
    "a runtime environment is kept by Ray": (
        "run-pvc",
        of("RayJob", lambda o: o["spec"].update(runtimeEnvYAML="env_vars: {OPENAI_API_KEY: x}")),
    ),
    "no ConfigMap": ("run-pvc", lambda objects: objects.remove(next(o for o in objects if o["kind"] == "ConfigMap"))),
    "no claim runs": (
        "run-pvc",
        lambda objects: objects.remove(next(o for o in objects if o["metadata"]["name"] == "runs")),
    ),
    "no volume": ("run-pvc", of("RayJob", lambda o: head(o)["volumes"].pop())),
    "a folder of the node": (
        "run-pvc",
        of("RayJob", lambda o: head(o)["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
    ),
    "selects no pod": ("run-pvc", of("Service", lambda o: o["spec"].update(selector={"app": "modle"}))),
    "no port": ("run-s3", of("PodMonitor", lambda o: o["spec"]["podMetricsEndpoints"][0].update(port="metric"))),
    "how many must stay": (
        "run-s3",
        of("PodDisruptionBudget", lambda o: (o["spec"].pop("minAvailable"), o["spec"].update(maxUnavailable=0))),
    ),
    "RayJob/run: what is tried again": (
        "run-pvc",
        of("RayJob", lambda o: o["spec"].update(entrypoint=o["spec"]["entrypoint"].replace("--or-resume", ""))),
    ),
    "Job/seeds: what is tried again": (
        "seeds-pvc",
        of_job("seeds", lambda o: first_box(o)["args"].remove("--or-resume")),
    ),
    "its pods would share a folder": (
        "seeds-pvc",
        of_job("seeds", lambda o: first_box(o).update(args=["run", "--out=$(OUT)", "--or-resume"])),
    ),
    "Job/seeds: attempts may overlap": ("seeds-pvc", of_job("seeds", lambda o: o["spec"].pop("podReplacementPolicy"))),
    "Job/experiment: attempts may overlap": (
        "experiment-pvc",
        of_job("experiment", lambda o: o["spec"].update(podReplacementPolicy="TerminatingOrFailed")),
    ),
    "what would fail again is tried again": (
        "experiment-pvc",
        of_job("experiment", lambda o: o["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"].remove(8)),
    ),
    "nothing denies by default": (
        "run-pvc",
        lambda objects: policy(objects, "deny-all").update(egress=[{}]),
    ),
    "ingress for everybody": ("run-pvc", lambda objects: policy(objects, "model").update(ingress=[{}])),
    "ingress for the whole cluster": (
        "run-pvc",
        lambda objects: policy(objects, "ray")["ingress"][1]["from"][0].pop("podSelector"),
    ),
    "egress for any address": (
        "run-s3",
        lambda objects: policy(objects, "storage")["egress"][0]["to"][0]["ipBlock"].pop("except"),
    ),
}


def head(document: dict[str, Any]) -> dict[str, Any]:
    (cluster,) = clusters(document)
    found: dict[str, Any] = cluster["headGroupSpec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("said", RULES)
def test_what_breaks_a_rule_of_the_house_is_caught(said):
    overlay, break_it = RULES[said]
    objects = documents(overlay)
    break_it(objects)
    assert any(said in fault for fault in faults(objects)), faults(objects)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlays_few_values_are_those_of_a_run(overlay, tmp_path):
    maps = {one["metadata"]["name"]: one["data"] for one in documents(overlay) if one["kind"] == "ConfigMap"}
    if "EXPERIMENT" in maps["run"]:
        file = tmp_path / Path(maps["run"]["EXPERIMENT"]).name
        file.write_text(maps["study"][file.name])
        settings = plan(find_experiment(str(file))).read_settings()
    else:
        (tmp_path / "study.toml").write_text(maps["study"]["study.toml"])
        settings = load_settings(tmp_path / "study.toml")
        find_society(maps["run"]["SOCIETY"])
    mounts = {mount["mountPath"] for document in documents(overlay) for _, pod in pods(document) for box in
              pod["spec"]["containers"] for mount in box.get("volumeMounts", [])}  # fmt: skip
    out = maps["run"]["OUT"]
    assert out.startswith("s3://") or any(out.startswith(mount) for mount in mounts)
    if "model" in maps:
        assert settings.model.name == maps["model"]["MODEL"]
        assert settings.endpoint.base_url == "http://model:8000/v1"
    else:
        assert str(settings.endpoint.api_key_file).startswith("/var/run/secrets/populace/")
    assert settings.journal == ("process" if out.startswith("s3://") else "machine"), "a lost node loses no answer"
    for place, pod in (one for document in documents(overlay) for one in pods(document)):
        labels = pod["metadata"]["labels"]
        if "seeds" in place:
            assert (labels["populace/experiment"], labels["populace/arm"]) == (settings.experiment, settings.arm)


def test_the_names_of_an_overlays_schemas_are_those_of_its_kinds():
    kinds = {one["kind"] for overlay in OVERLAYS for one in documents(overlay) if is_custom(one)}
    assert kinds == {"RayJob", "RayCluster", "PodMonitor", "PrometheusRule"}
    assert {f"{kind}_v1.json" for kind in kinds} <= {path.name for path in schemas().iterdir()}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_api_takes_an_overlay_once(overlay, tmp_path):
    """kubectl creates all of it at kmock's API, by the kinds that this announces; a second time they are there."""
    kmock = pytest.importorskip("kmock")
    found = [one for one in documents(overlay) if one["kind"] != "Namespace"]  # kmock 0.8 makes nothing outside one
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(found))

    async def create() -> list[tuple[int, str]]:
        async with kmock.KubernetesEmulator() as api, kmock.Server(api):
            _announce(api)
            words = ["create", "--validate=false", f"--cache-dir={tmp_path}", f"--server={api.url}", "-f"]
            ended = []
            for _ in range(2):
                process = await asyncio.create_subprocess_exec(
                    "kubectl", *words, str(tmp_path / "all.yaml"), stdout=-1, stderr=-1
                )
                out, err = await process.communicate()
                ended.append((process.returncode, (out + err).decode()))
            return ended

    (first, said), (second, refused) = asyncio.run(create())
    assert first == 0, said
    assert said.count(" created") == len(found)
    assert second == 1
    assert " created" not in refused


def _announce(api: Any) -> None:
    """The kinds of Ray and of the Prometheus operator, and the core ones, whose group kmock 0.8 names '/v1'."""
    verbs = {"get", "list", "create", "patch", "delete"}
    api.resources.load_bundled()
    for group, kinds in (
        ("ray.io", ("RayJob", "RayCluster")),
        ("monitoring.coreos.com", ("PodMonitor", "PrometheusRule")),
    ):
        for kind in kinds:
            named = {"kind": kind, "singular": kind.lower(), "namespaced": True, "verbs": verbs}
            api.resources[f"{group}/v1/{kind.lower()}s"] = named
    core = [
        {"name": f"{kind.lower()}s", "singularName": kind.lower(), "kind": kind, "namespaced": True,
         "verbs": sorted(verbs)}
        for kind in ("ConfigMap", "Service", "PersistentVolumeClaim")
    ]  # fmt: skip
    api["get /api/v1"] << {"kind": "APIResourceList", "groupVersion": "v1", "resources": core}


def test_every_file_of_the_manifests_is_yaml_that_an_overlay_reads():
    used = {path.parent.name for path in K8S.rglob("kustomization.yaml")}
    assert {"network", "run", "cluster", "model", "experiment", "seeds", "pvc", "s3", "hosted-model", "metrics"} <= used
    named: set[Any] = set()
    for path in K8S.rglob("kustomization.yaml"):
        told = yaml.safe_load(path.read_text())
        listed = [*told.get("resources", []), *told.get("components", [])]
        named |= {(path.parent / one).resolve() for one in listed}
        named |= {path.parent / file for made in told.get("configMapGenerator", []) for file in made.get("files", [])}
    left = {path for path in K8S.rglob("*.*ml") if path.name != "kustomization.yaml"} - named
    assert left == set()


def test_the_image_is_pinned_and_of_this_populace():
    text = (K8S / "Dockerfile").read_text()
    stages = [line.split()[1] for line in text.splitlines() if line.startswith("FROM ")]
    assert len(stages) == 2
    assert all(":" in one and not one.endswith(":latest") for one in stages)
    assert "--require-hashes" in text
    users = [line.split()[1] for line in text.splitlines() if line.startswith("USER ")]
    assert users[-1:] == ["1000:1000"], "numeric, so that runAsNonRoot can be checked"
    pinned = [line for line in (K8S / "requirements.txt").read_text().splitlines() if line[:1].isalnum()]
    assert all("==" in line for line in pinned)
    project = tomllib.loads((K8S.parent / "pyproject.toml").read_text())["project"]
    names = {line.partition("==")[0].partition("[")[0].lower().replace("_", "-") for line in pinned}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["s3"]]
    assert {one.partition(">=")[0].partition("[")[0].lower() for one in wanted} <= names
    templates = [pod for overlay in OVERLAYS for document in documents(overlay) for _, pod in pods(document)]
    images = [box["image"] for pod in templates for box in pod["spec"]["containers"]]
    tags = {image.rpartition(":")[2] for image in images if "populace" in image}
    assert tags == {f"{project['version']}-ray{ray_pinned()}"}
