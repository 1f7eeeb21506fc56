"""What the model's Deployment tells vLLM, held against what the pinned vLLM takes; `vllm_serve.json` says whence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.manifests import OVERLAYS, documents

KNOWN = json.loads((Path(__file__).parent / "vllm_serve.json").read_text())
SERVED = [overlay for overlay in OVERLAYS if overlay != "run-s3"]
Objects = list[dict[str, Any]]


def named(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    return next(one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name))


def box_of(objects: Objects, kind: str = "Deployment", name: str = "model") -> dict[str, Any]:
    (box,) = named(objects, kind, name)["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = box
    return found


def wrong_words(words: list[str], switches: set[str], options: set[str]) -> Iterator[str]:
    """What of a command line's options its program would refuse, or would read as something else."""
    for word in words:
        name, given, _ = word.partition("=")
        positive = name.replace("--no-", "--", 1)
        if name not in switches | options and positive not in switches:
            yield f"{name}: there is no such option"
        elif given and positive in switches:
            yield f"{name}: takes no value"
        elif not given and name in options:
            yield f"{name}: wants a value"


def faults(objects: Objects) -> list[str]:
    box, service = box_of(objects), named(objects, "Service", "model")
    place, *options = box["args"]
    found = list(wrong_words(options, set(KNOWN["switches"]), set(KNOWN["options"])))
    if box["command"] != ["vllm", "serve"] or place.startswith("-"):
        found.append("command: not `vllm serve MODEL`")
    if not box["image"].endswith(f":v{KNOWN['version']}"):
        found.append(f"image: {box['image']} is not the vLLM of vllm_serve.json")
    told = dict(word.partition("=")[::2] for word in options)
    if "--enable-prefix-caching" not in told:
        found.append("no prefix caching")
    if told.get("--served-model-name") != "$(MODEL)" or "MODEL" not in named(objects, "ConfigMap", "model")["data"]:
        found.append("the name under which the model is asked is not MODEL")
    ports = {str(port["containerPort"]): port["name"] for port in box["ports"]}
    if told.get("--host") != "0.0.0.0" or told.get("--port") not in ports:
        found.append("it listens where no port is open")
    if [one["targetPort"] for one in service["spec"]["ports"]] != list(ports.values()):
        found.append("the Service leads to another port")
    probes = {name: box[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    found += [
        f"{name}: the server has no such path"
        for name, asked in probes.items()
        if asked["path"] not in KNOWN["paths"] or asked["port"] not in ports.values()
    ]
    names = [one["name"] for one in box["env"] if one["name"].startswith("VLLM_")]
    found += [f"{name}: vLLM reads no such variable" for name in names if name not in KNOWN["environment"]]
    # Kubernetes gives each pod <SERVICE>_PORT=tcp://..., which vLLM would read as its own.
    variables = {one["metadata"]["name"].upper().replace("-", "_") for one in objects if one["kind"] == "Service"}
    found += [f"a Service {name}: its {name}_PORT is vLLM's" for name in variables if f"{name}_PORT" in
              KNOWN["environment"]]  # fmt: skip
    fetch = box_of(objects, "Job", "fetch-weights")
    found += wrong_words(fetch["args"][1:], set(), set(KNOWN["hf_download"]))
    mounts = [one["mountPath"] for one in box["volumeMounts"]]
    if f"--local-dir={place}" not in fetch["args"] or not any(place.startswith(mount) for mount in mounts):
        found.append("what is fetched is not what is served")
    return found


@pytest.mark.parametrize("overlay", SERVED)
def test_the_pinned_vllm_takes_what_it_is_told(overlay):
    assert faults(documents(overlay)) == []


def swap(was: str, now: str, name: str = "args") -> Callable[[Objects], object]:
    def change(objects: Objects) -> None:
        words = box_of(objects)[name]
        words[words.index(was)] = now

    return change


BROKEN: dict[str, Callable[[Objects], object]] = {
    "--enable-prefix-cache: there is no such option": swap("--enable-prefix-caching", "--enable-prefix-cache"),
    "--enable-prefix-caching: takes no value": swap("--enable-prefix-caching", "--enable-prefix-caching=true"),
    "--served-model-name: wants a value": swap("--served-model-name=$(MODEL)", "--served-model-name"),
    "no prefix caching": swap("--enable-prefix-caching", "--no-enable-prefix-caching"),
    "under which the model is asked": swap("--served-model-name=$(MODEL)", "--served-model-name=model"),
    "where no port is open": swap("--port=8000", "--port=8001"),
    "not `vllm serve MODEL`": swap("serve", "server", "command"),
    "is not the vLLM of": lambda o: box_of(o).update(image="vllm/vllm-openai:v0.32.0"),
    "leads to another port": lambda o: named(o, "Service", "model")["spec"]["ports"][0].update(targetPort="grpc"),
    "readinessProbe: the server": lambda o: box_of(o)["readinessProbe"]["httpGet"].update(path="/healthz"),
    "VLLM_DO_NOT_TRACKS: vLLM reads": lambda o: box_of(o)["env"].append({"name": "VLLM_DO_NOT_TRACKS", "value": "1"}),
    "its VLLM_PORT is": lambda o: o.append({**named(o, "Service", "model"), "metadata": {"name": "vllm"}}),
    "--localdir: there is no": lambda o: box_of(o, "Job", "fetch-weights")["args"].append("--localdir=/weights"),
    "not what is served": swap("/weights/model", "/weights"),
}


@pytest.mark.parametrize("said", BROKEN)
def test_what_vllm_would_not_take_is_caught(said):
    objects = documents("run-pvc")
    BROKEN[said](objects)
    assert any(said in fault for fault in faults(objects)), faults(objects)
