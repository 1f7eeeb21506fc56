"""Control by the page: what it does to runs, and everybody whom it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from urllib.request import urlopen

import pytest
from support.command import Begun
from support.command import populace as command
from support.paging import controlling, paged, token_of, until

import populace
from populace.monitoring.progress_file import PROGRESS
from populace.page import control
from populace.page.control import ACTIONS, Action, Control, Interview
from populace.page.shelf import Shelf
from populace.store.control import CONTROL, CONTROLLED
from populace.store.manifest import is_complete, read_manifest

SOCIETY = """
import os
import time

from populace import Agent, Parameters, Population, Public, Society

class Dials(Parameters, frozen=True):
    step: float = 1.0

class Citizen(Agent):
    support: Public[float] = 0.0

    async def turn(self, ctx):
        if ctx.tick == 2:
            open(os.environ["GO"] + "-waits", "w").close()
        while ctx.tick == 2 and not os.path.exists(os.environ["GO"]):
            time.sleep(0.01)
        await ctx.ask("Well?")
        self.support += ctx.parameters.step
        ctx.send((ctx.id + 1) % 4, self.support)

society = Society(name="controlled", agent=Citizen, parameters=Dials(),
                  outcomes={"mean": lambda world: world.columns["support"].mean()},
                  population=lambda setup: Population({"support": [0.0] * setup.agents}))
"""
OPTIONS = ("--model", "scripted", "--agents", "4", "--ticks", "5", "--seed", "3", "--set", "checkpoint.every_s=3600")


@pytest.fixture
def begun(tmp_path):
    """A run at work, which stands in tick 2 until there is a file `go`."""
    (tmp_path / "society.py").write_text(SOCIETY, encoding="utf-8")
    env = {**os.environ, "GO": str(tmp_path / "go")}
    run = Begun("run", "society.py", *OPTIONS, "--out", "run", cwd=tmp_path, env=env, stdout=subprocess.DEVNULL)
    try:
        until((tmp_path / "go-waits").exists)
        yield run, tmp_path / "run"
    finally:
        run.kill()
        run.communicate()


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    populace.run("polarization", agents=6, ticks=2, model="scripted", quiet=True, seed=3, out=place / "talk")
    return place


def test_a_run_is_paused_interviewed_forked_gone_on_with_and_is_what_it_would_have_been(begun, monkeypatch):
    run, folder = begun
    go = folder.parent / "go"
    monkeypatch.setenv("GO", str(go))
    with paged(folder, controlling) as page:
        token = token_of(page)
        assert page.act("wish", token, wish="pause") == (200, {"wish": "pause"})
        assert page.get("overview")["asked"] == "pause", "it is asked, and not done before the edge"
        assert page.get("overview")["paused_at"] is None
        go.touch()
        until(lambda: page.get("overview")["paused_at"] == 3)
        assert page.get("overview")["status"] == "at work"

        status, said = page.act("interview", token, agent=1, question="How was your week?")
        assert status == 200, said
        assert said["answer"]
        again = page.act(
            "interview", token, agent=1, question="And now?", transcript=[["How was your week?", said["answer"]]]
        )
        assert again[0] == 200
        assert page.act("interview", token, agent=99, question="Who?")[0] == 409
        status, said = page.act("interview", token, agent=1, question="Who?", mind="gpt")
        assert status == 409
        assert "no model or mind 'gpt'" in said["error"]

        status, said = page.act("fork", token, at_tick=4, lever='set={"society.step"=5.0}')
        assert status == 409, "what is not on record cannot be forked"
        assert "Choose one from 0 to 3" in said["error"]
        status, said = page.act("fork", token, at_tick=3, lever='set={"society.step"=5.0}')
        assert (status, said) == (200, {"run": "run-fork-1"})
        assert [one["name"] for one in page.get("runs")["runs"]] == ["run", "run-fork-1"]
        assert page.get("runs")["alone"] is False
        fork = folder.parent / "run-fork-1"
        assert page.act("wish", token, wish="go")[0] == 200
        assert run.wait(240) == 0
        done = page.get("overview")
        assert [(one["wish"], one["tick"]) for one in done["controlled"]] == [("pause", 3), ("go", 3)]
    until(lambda: is_complete(fork))  # the page has ended, and the fork goes on
    ended = command("run", "society.py", *OPTIONS, "--out", "plain", cwd=folder.parent, GO=str(go))
    assert ended.returncode == 0, ended.stderr
    manifest, plain = read_manifest(folder), read_manifest(folder.parent / "plain")
    assert manifest["trace_hashes"] == plain["trace_hashes"]
    forked = read_manifest(fork)["trace_hashes"]
    assert forked[:3] == plain["trace_hashes"][:3]
    assert forked[3:] != plain["trace_hashes"][3:], "control: a lever is another run"
    for path in folder.parent.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes(), path


def test_who_answers_an_interview_is_chosen_among_what_the_run_knows(tmp_path):
    file = Path(__file__).parent.parent / "support" / "respondents.py"
    models = {"model": {"kind": "rules", "roles": {"judge": {"kind": "scripted", "name": "stern"}}}}
    populace.run(file, seed=3, ticks=1, quiet=True, settings=models, out=tmp_path / "run")
    with paged(tmp_path / "run", controlling) as page:
        minds = page.get("minds")["minds"]
        assert [one["name"] for one in minds] == ["", "judge", "rules", "embedded", "scripted"]
        asked = {"agent": 1, "question": "How are you?"}
        tried = ("", "rules", "judge", "scripted")
        given = {one: page.act("interview", token_of(page), mind=one, **asked) for one in tried}
    assert {status for status, _ in given.values()} == {200}, given
    said = {one: answer["answer"] for one, (_, answer) in given.items()}
    assert said[""] == said["rules"]
    assert said[""] not in (said["judge"], said["scripted"])


def test_a_run_is_ended_at_its_edge_and_can_be_gone_on_with(begun):
    run, folder = begun
    with paged(folder.parent, controlling) as page:
        assert page.act("wish", token_of(page), run="run", wish="stop")[0] == 200
        (folder.parent / "go").touch()
        assert run.wait(240) == 130
        seen = page.get("overview", run="run")
        assert (seen["status"], seen["tick"]) == ("interrupted", 3)
        status, said = page.act("wish", token_of(page), run="run", wish="go")
        assert status == 409
        assert "only one that is at work" in said["error"]
        assert populace.load(folder).status == "interrupted"
        with (folder / PROGRESS).open("ab") as file:  # as a process does that goes on with it, and is killed
            file.write(b'{"event":"begin","at_s":1.0,"ticks":5}\n')
        assert page.get("overview", run="run")["status"] == populace.load(folder).status == "killed"
    done = command("resume", "run", cwd=folder.parent, GO=str(folder.parent / "go"))
    assert done.returncode == 0, done.stderr
    assert populace.load(folder).status == "complete"


def test_a_run_that_was_killed_while_paused_is_shown_so_and_goes_on(begun):
    run, folder = begun
    with paged(folder, controlling) as page:
        page.act("wish", token_of(page), wish="pause")
        (folder.parent / "go").touch()
        until(lambda: page.get("overview")["paused_at"] == 3)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        seen = page.get("overview")
        assert (seen["status"], seen["paused_at"]) == ("killed", None)
    done = command("resume", "run", cwd=folder.parent, GO=str(folder.parent / "go"))
    assert done.returncode == 0, done.stderr
    assert not (folder / CONTROL).exists()


@pytest.mark.parametrize("action", ["wish", "fork", "interview"])
def test_a_page_without_control_refuses_and_says_how(done, action):
    with paged(done / "talk") as page:
        status, said = page.act(action, "a" * 43, wish="stop", at_tick=1, agent=0, question="?")
        assert status == 403
        assert "--control" in said["error"]
        assert page.get("runs")["control"] is False


def test_who_has_no_token_or_comes_from_elsewhere_is_refused(done):
    with paged(done, controlling) as page:
        token = token_of(page)
        asked = {"run": "talk", "at_tick": 1}
        for wrong in (None, "", "x", token[:-1], token + "a", "é"):
            status, said = page.act("fork", wrong, **asked)
            assert status == 403, wrong
            assert "#token=" in said["error"]
            assert token not in said["error"]
        for headers in (
            {"Host": "rebound.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        ):  # fmt: skip
            status, said = page.act("fork", token, headers, **asked)
            assert status == 403, headers
            assert "token" not in said["error"]
        assert sorted(path.name for path in done.iterdir()) == ["talk"], "nothing was begun"
        for path in ("/", "/api/runs", "/api/overview?run=talk", "/static/main.js"):
            assert token.encode() not in page.raw(path)[2]
        assert page.act("wish", token, run="talk", wish="stop")[0] == 409, "control: the token is let in"


@pytest.mark.parametrize(
    ("action", "given", "status"),
    [
        ("nothing", {}, 404),
        ("wish", {"run": "talk", "wish": "delete"}, 400),
        ("wish", {"run": "../talk", "wish": "stop"}, 404),
        ("wish", {"run": "/etc", "wish": "stop"}, 404),
        ("fork", {"run": "talk/../talk", "at_tick": 1}, 404),
        ("fork", {"run": "talk", "at_tick": -1}, 400),
        ("fork", {"run": "talk", "at_tick": 1, "out": "/tmp/elsewhere"}, 400),
        ("fork", {"run": "talk", "at_tick": 1, "lever": "set = {"}, 409),
        ("fork", {"run": "talk", "at_tick": 1, "lever": "--out=/tmp/elsewhere"}, 409),
        ("interview", {"run": "..", "agent": 0, "question": "?"}, 404),
        ("interview", {"run": "talk", "agent": 0, "question": ""}, 400),
        ("interview", {"run": "talk", "agent": 0, "question": "x" * 5000}, 400),
    ],
)  # fmt: skip
def test_what_is_not_understood_or_leaves_the_place_is_refused(done, monkeypatch, action, given, status):
    monkeypatch.setattr(control, "_BEGINS_S", 240.0)
    with paged(done, controlling) as page:
        found, said = page.act(action, token_of(page), **given)
        assert found == status, said
        assert "Traceback" not in said["error"]
        assert [path.name for path in done.iterdir()] == ["talk"]


def test_a_form_of_a_browser_is_not_json(done):
    with paged(done, controlling) as page:
        headers = {"Authorization": f"Bearer {token_of(page)}", "Content-Type": "text/plain"}
        assert page.raw("/api/wish", "POST", headers, b'{"run": "talk", "wish": "stop"}')[0] == 415
        headers["Content-Type"] = "application/json"
        assert page.raw("/api/wish", "POST", headers, b"{")[0] == 400
        assert page.raw("/api/wish", "POST", headers, b'"' + b"x" * 2**21 + b'"')[0] == 413


def test_a_run_is_paused_though_long_interviews_are_held(done, monkeypatch):
    held, began = threading.Event(), threading.Semaphore(0)

    def long(control, asked):
        began.release()
        assert held.wait(240)
        return {"answer": "at last"}

    monkeypatch.setitem(ACTIONS, "interview", Action(Interview, long))
    with paged(done, controlling) as page:
        answers: list = []
        ask = {"run": "talk", "agent": 0, "question": "?"}
        asking = [
            threading.Thread(target=lambda: answers.append(page.act("interview", token_of(page), **ask)))
            for _ in range(6)
        ]
        for one in asking:
            one.start()
        for _ in range(4):
            assert began.acquire(timeout=240)
        assert page.act("wish", token_of(page), run="talk", wish="stop")[0] == 409, (
            "it is heard, of a run that has ended"
        )
        assert not began.acquire(blocking=False), "control: the others wait"
        held.set()
        for one in asking:
            one.join(240)
        assert answers == [(200, {"answer": "at last"})] * 6


def test_tokens_are_new_for_each_page(done):
    tokens = {Control(Shelf(done)).token for _ in range(20)}
    assert len(tokens) == 20
    assert min(map(len, tokens)) >= 43, "256 bits"


def test_the_command_prints_the_token_once_and_only_with_control(done, tmp_path):
    def served(*options: str) -> tuple[str, str, int]:
        watching = Begun("watch", "talk", "--page", "--port", "0", *options, cwd=done)
        first = watching.stdout.readline()
        url = first.strip().partition(": ")[2].partition("#")[0]
        assert json.load(urlopen(f"{url}api/runs"))["control"] is bool(options)
        watching.send_signal(signal.SIGINT)
        rest, said = watching.communicate(timeout=240)
        assert watching.returncode == 130
        return first, rest + said, 0

    first, rest, _ = served("--control")
    token = first.strip().partition("#token=")[2]
    assert len(token) >= 43
    assert token not in rest
    first, _, _ = served()
    assert "token" not in first
    refused = command("watch", "talk", "--plain", "--control", cwd=done)
    assert refused.returncode == 2
    assert "--control" in refused.stderr


def test_a_page_that_controls_writes_only_what_it_was_asked_to(done):
    def state():
        return {str(path): path.stat().st_mtime_ns for path in sorted(done.rglob("*"))}

    before = state()
    with paged(done, controlling) as page:
        page.get("overview", run="talk")
        page.act("wish", token_of(page), run="talk", wish="pause")
        page.act("wish", "wrong", run="talk", wish="pause")
    assert state() == before
    assert Shelf(done).alone is False
    assert not (done / "talk" / CONTROLLED).exists()
