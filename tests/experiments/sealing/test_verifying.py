"""A sealed study is recomputed by others, without a key; what was tampered with is found and named."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import zipfile

import msgspec
import pytest
from support.sealed import CODE, CONTROL, KEY, as_another_user, members, other_answer, replaced, tampered

import populace
from populace.core.errors import SealBroken, Untrusted
from populace.experiments.sealing import verify
from populace.experiments.sealing.listed import SEAL, Seal
from populace.store.manifest import read_manifest

MANIFEST = "runs/control-000/manifest.json"


def test_another_user_on_another_machine_verifies_it_and_forks_from_it(study, tmp_path):
    """Another home without the package's cache, no key, no endpoint, and the author's folder is not there."""
    ways = {"cwd": tmp_path, "home": tmp_path / "home"}
    done = as_another_user("experiment", "verify", str(study.archive), "--trust", "--out", "mine", **ways)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("6 of 6 the same") == 4
    assert done.stdout.count("28 of 28 the same") == 4
    assert f"verified: every run came to what was sealed, with no call. Digest {study.seal.digest}" in done.stdout
    assert "sealed by  Ada on " in done.stderr
    assert CODE in done.stderr
    assert "society/0/prompt.txt" in done.stderr
    results = populace.load(tmp_path / "mine" / "runs")
    assert results.status == "complete"
    there = populace.load(study.folder)
    assert results.outcomes.equals(there.outcomes)
    forked = as_another_user(
        "fork", "mine/runs/silenced-000", "--at-tick", "3", "--set", "model.kind=rules", "--set",
        "society.openness=0.9", "--out", "fork", **ways,
    )  # fmt: skip
    assert forked.returncode == 0, forked.stderr
    fork, parent = read_manifest(tmp_path / "fork"), there.run("silenced", 0).manifest
    assert fork["trace_hashes"][:3] == parent["trace_hashes"][:3]
    assert fork["trace_hashes"][3:] != parent["trace_hashes"][3:]
    assert fork["asks"]["replayed"] > 0


def test_what_was_left_out_of_the_archive_is_not_needed_and_no_key_or_path_is_in_it(study):
    held = members(study.archive)
    home = str(study.home.parent).encode()
    assert not [name for name, content in held.items() if KEY.encode() in content or home in content]
    assert {name for name in held if name.startswith("society/")} == {
        CODE, "society/0/leaning.py", "society/0/tilting.py", "society/0/prompt.txt", "society/0/start.txt",
    }  # fmt: skip
    with zipfile.ZipFile(study.archive) as zipped:
        assert zipped.namelist() == sorted(zipped.namelist())
        assert {one.date_time for one in zipped.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert json.loads(held[SEAL])["digest"] == study.seal.digest
    assert study.seal.sealed == "2026-01-02T03:04:05+00:00"
    assert {"populace", "python", "numpy"} <= study.seal.versions.keys()


def test_one_flipped_bit_is_found_and_its_member_named(study, tmp_path):
    data = study.archive.read_bytes()
    with zipfile.ZipFile(study.archive) as zipped:
        places = {one.filename: one.header_offset + 30 + len(one.filename) + one.compress_size // 2 for one in
                  zipped.infolist()}  # fmt: skip
    assert len(places) > 20
    for name, at in places.items():
        broken = tmp_path / "broken.zip"
        broken.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with pytest.raises(SealBroken, match=name):
            verify(broken, agree=_never)


def test_wherever_a_bit_is_flipped_nothing_else_than_what_was_sealed_is_recomputed(study, tmp_path):
    data, sealed = study.archive.read_bytes(), members(study.archive)
    found = 0
    for at in range(5, len(data), 211):
        broken = tmp_path / "broken.zip"
        broken.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            verify(broken, agree=lambda _: False)
        except SealBroken:
            found += 1
        except Untrusted:  # a date, or such: what zip keeps beside the members
            assert members(broken) == sealed
    assert found > 100


def _never(_: Seal) -> bool:
    raise AssertionError("asked whether to run what is not what was sealed")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (CODE, replaced("PROMPT, Choice", "PROMPT , Choice")),
        ("society/0/tilting.py", replaced("0.5", "0.6")),
        ("society/0/start.txt", replaced("5.5", "5.6")),
        ("runs/experiment.json", replaced('"silenced": "up"', '"silenced": "down"')),
        ("figures.csv", replaced("control-000,control,0,0,people,16.0", "control-000,control,0,0,people,17.0")),
        (SEAL, replaced("Ada", "Eve")),
        (CONTROL, None),
        ("society/0/more.py", lambda _: b"import os"),
    ],
)
def test_a_member_that_is_not_as_it_was_sealed_is_named(study, tmp_path, name, change):
    broken = tampered(study.archive, tmp_path / "broken.zip", {name: change})
    with pytest.raises(SealBroken, match=name):
        verify(broken, agree=_never)


def test_a_study_that_was_changed_and_sealed_anew_has_another_digest(study, tmp_path):
    other = tampered(study.archive, tmp_path / "other.zip", {"runs/dry.json": lambda _: b"{}"}, resealed=True)
    with pytest.raises(SealBroken, match="another study than the one asked for"):
        verify(other, digest=study.seal.digest, agree=_never)
    with pytest.raises(Untrusted):
        verify(study.archive, digest=study.seal.digest.upper())


def test_a_changed_line_of_code_is_found_in_its_run_and_tick_though_every_checksum_holds(study, tmp_path):
    line = ("        self.heard += len(ctx.inbox)\n", "        self.heard += len(ctx.inbox) + (ctx.tick == 2)\n")
    other = tampered(study.archive, tmp_path / "other.zip", {CODE: replaced(*line)}, resealed=True)
    found = verify(other, trust=True)
    assert not found.holds
    runs = ("control-000", "silenced-000", "moved-000", "open-000")
    assert {(one.member, one.run, one.tick) for one in found.differences} == {
        *((CODE, run, None) for run in runs), *((f"runs/{run}", run, 2) for run in runs),
    }  # fmt: skip
    assert f"differs: {CODE} (run control-000): is not the code that the run was begun with" in found.text()
    beside = tampered(
        study.archive, tmp_path / "beside.zip", {"society/0/tilting.py": replaced("0.5", "0.4")}, resealed=True
    )
    assert {one.tick for one in verify(beside, trust=True).differences} == {1}


def test_a_changed_answer_is_found_in_its_run_and_tick_though_every_checksum_holds(study, tmp_path):
    held = members(study.archive)
    manifest = json.loads(held[MANIFEST])
    journal, _ = other_answer(held[CONTROL], manifest["run"], 4, tmp_path / "journal")
    manifest["journal"] = {CONTROL.rpartition("/")[2]: len(journal)}
    changes = {CONTROL: lambda _: journal, MANIFEST: lambda _: json.dumps(manifest).encode()}
    found = verify(tampered(study.archive, tmp_path / "other.zip", changes, resealed=True), trust=True)
    assert [(one.member, one.run, one.tick) for one in found.differences] == [("runs/control-000", "control-000", 4)]
    assert [one.run for one in found.runs if one.trace] == ["silenced-000", "moved-000", "open-000"]
    assert "not verified: 1 things differ" in found.text()


def test_a_changed_figure_and_a_changed_hash_are_found_though_every_checksum_holds(study, tmp_path):
    figure = replaced("moved-000,moved,0,3,people,16.0", "moved-000,moved,0,3,people,16.000001")
    run = next(one for one in study.seal.runs if one.run == "open-000")
    changes = {"figures.csv": figure, SEAL: replaced(run.world_hash, "0" * 32)}
    found = verify(tampered(study.archive, tmp_path / "other.zip", changes, resealed=True), trust=True)
    assert [(one.member, one.run, one.tick) for one in found.differences] == [
        ("figures.csv", "moved-000", 3), (SEAL, "open-000", None),
    ]  # fmt: skip
    assert {one.run: one.same for one in found.runs}["moved-000"] == 27


def test_a_figure_that_differs_in_its_last_digits_is_told_apart_from_another_one(study, tmp_path):
    figure = replaced("moved-000,moved,0,3,people,16.0", "moved-000,moved,0,3,people,16.000000000000004")
    found = verify(tampered(study.archive, tmp_path / "o.zip", {"figures.csv": figure}, resealed=True), trust=True)
    assert found.holds
    assert [one.close for one in found.runs] == [0, 0, 1, 0]
    assert "1 figures differ from the sealed ones in their last digits only" in found.text()


def test_a_run_that_is_not_of_the_design_is_found(study, tmp_path):
    """The levers that were registered are those that the runs had."""
    other = tampered(
        study.archive, tmp_path / "other.zip", {"runs/experiment.json": replaced('"share": 0.3', '"share": 0.2')},
        resealed=True,
    )  # fmt: skip
    found = verify(other, trust=True)
    assert [(one.member, one.why) for one in found.differences] == [
        ("runs/silenced-000/run.json", "its settings are not the design's: levers")
    ]
    gone = replaced('"replicates": 1', '"replicates": 2')
    found = verify(
        tampered(study.archive, tmp_path / "g.zip", {"runs/experiment.json": gone}, resealed=True), trust=True
    )
    assert {(one.run, one.why) for one in found.differences} == {
        (f"{arm}-001", "is a run of the design, and was not sealed") for arm in ("control", "silenced", "moved", "open")
    }


def test_nothing_is_executed_before_somebody_agreed(study, tmp_path):
    mark = tmp_path / "executed"
    line = f"open({str(mark)!r}, 'w').close()\n"
    other = tampered(study.archive, tmp_path / "other.zip", {CODE: lambda was: was + line.encode()}, resealed=True)
    asked: list[Seal] = []

    def no(seal: Seal) -> bool:
        asked.append(seal)
        return False

    with pytest.raises(Untrusted, match=r"Ada sealed.*populace experiment verify .* --trust"):
        verify(other, agree=no)
    assert [one.author for one in asked] == ["Ada"]
    done = as_another_user("experiment", "verify", str(other), cwd=tmp_path, home=tmp_path / "home")
    assert done.returncode == 2
    assert "sealed by  Ada on " in done.stderr
    assert "SHA-256" in done.stderr
    assert not mark.exists()
    verify(other, agree=lambda _: True)
    assert mark.exists()


@pytest.mark.parametrize(("said", "code"), [(b"y\n", 0), (b"n\n", 2)])
def test_at_a_terminal_it_is_asked_whether_the_code_may_run(study, tmp_path, said, code):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "populace.cli", "experiment", "verify", str(study.archive)]
    with (tmp_path / "stdout").open("wb") as stdout:
        run = subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=stdout, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other end closes as the command ends
        while more := os.read(ours, 65536):
            before, shown = shown, shown + more
            question = b"Run this code, with your rights?"
            if question in shown and question not in before:
                os.write(ours, said)
    assert run.wait() == code
    os.close(ours)
    assert b"sealed by  Ada on " in shown
    assert ("verified: every run" in (tmp_path / "stdout").read_text()) == (code == 0)


def test_a_folder_that_is_not_verified_gets_no_trust(study, tmp_path):
    figure = replaced("moved-000,moved,0,3,people,16.0", "moved-000,moved,0,3,people,1.0")
    other = tampered(study.archive, tmp_path / "other.zip", {"figures.csv": figure}, resealed=True)
    ways = {"cwd": tmp_path, "home": tmp_path / "home"}
    done = as_another_user("experiment", "verify", str(other), "--trust", "--out", "mine", "--quiet", **ways)
    assert done.returncode == 9
    assert "differs: figures.csv (run moved-000, tick 3)" in done.stdout
    forked = as_another_user("fork", "mine/runs/moved-000", "--at-tick", "3", "--out", "fork", **ways)
    assert forked.returncode == 2
    assert "was not written here by you" in forked.stderr


def test_versions_of_this_machine_that_are_others_are_told(study, tmp_path):
    here = study.seal.versions["numpy"]
    seal = msgspec.json.encode({"numpy": here}).decode()[1:-1].replace(":", ": ")
    other = tampered(study.archive, tmp_path / "other.zip", {SEAL: replaced(seal, '"numpy": "1.0"')}, resealed=True)
    found = verify(other, trust=True)
    assert found.here == {"numpy": here}
    assert f"note: numpy is {here} here, and was 1.0 when it was sealed" in found.text()
