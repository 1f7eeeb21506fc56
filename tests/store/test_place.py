"""A run writes into a folder of its own: what is not a run's is neither overwritten nor deleted, at any step."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.attempts import go
from support.command import populace
from support.running import SOCIETIES, run_local

from populace.core.errors import SettingsError, StorageError
from populace.runs.courses import resume_course
from populace.runs.place import new_place, reserved_beside
from populace.store import lock
from populace.store.place import check_new, fresh_folder

MINE = {"agents.parquet": "mine", "parts/notes.txt": "mine", "journal/a.txt": "mine", "thesis.tex": "mine"}


def put(folder: Path, names: dict[str, str]) -> None:
    for name, text in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def held(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("command", "name"), list(zip(["run", "fork", "replay", "estimate"], MINE, strict=True)), ids=range(4)
)
def test_a_folder_with_files_of_others_is_refused_and_stays_as_it_is(tmp_path, command, name):
    put(tmp_path / "out", {name: "mine"})
    run_local(tmp_path / "a", ticks=1)
    done = populace(
        *{
            "run": ("run", SOCIETIES, "--model", "scripted", "--ticks", "1"),
            "fork": ("fork", "a", "--at-tick", "0"),
            "replay": ("replay", "a"),
            "estimate": ("estimate", SOCIETIES, "--scripted"),
        }[command],
        "--out", "out", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "is not empty and not a run's folder" in done.stderr
    assert held(tmp_path / "out") == {name: "mine"}


def test_from_python_too_nothing_is_overwritten(tmp_path):
    for name in ("agents.parquet", "parts/notes.txt"):
        out = tmp_path / name.replace("/", "-")
        put(out, {name: "mine"})
        with pytest.raises(SettingsError, match="is not empty and not a run's folder"):
            run_local(out, ticks=1)
        assert held(out) == {name: "mine"}
    run_local(tmp_path / "twice", ticks=1)
    with pytest.raises(SettingsError, match="holds a run already"):
        run_local(tmp_path / "twice", ticks=1)


def test_what_is_put_into_a_run_later_outlives_resume_and_end(tmp_path):
    assert go(tmp_path / "run", stop_at=3, checkpoint__every_ticks=2) is None
    mine = dict.fromkeys(("parts/notes.txt", "parts/x-000000.parquet", "checkpoints/why.md", "thesis.tex"), "mine")
    put(tmp_path / "run", mine)
    assert go(tmp_path / "run", going=resume_course(tmp_path / "run"))["status"] == "complete"
    left = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*")}
    assert mine.keys() <= left
    assert not any(name.endswith(".checkpoint") or "parts/asks" in name for name in left)


def test_a_table_that_is_none_of_a_run_is_not_replaced_at_a_resume(tmp_path):
    assert go(tmp_path / "run", stop_at=3, checkpoint__every_ticks=2) is None
    (tmp_path / "run" / "asks.parquet").write_text("mine")
    with pytest.raises(StorageError, match=r"asks\.parquet: is not a table that a run left"):
        go(tmp_path / "run", going=resume_course(tmp_path / "run"))
    assert (tmp_path / "run" / "asks.parquet").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path):
    check_new(tmp_path)
    check_new(tmp_path / "nothing")
    (tmp_path / ".lock").touch()
    check_new(tmp_path)


@given(st.text() | st.sampled_from(["../../evil", "/etc/x", "..", ".", "a/b", "\x1b[31m", "x" * 300, "C:\\x"]))
def test_a_society_of_any_name_stays_in_its_folder(name):
    folder = fresh_folder(name, Path("runs"))
    assert folder.parent == Path("runs")
    assert folder.name.endswith("-1")
    assert not folder.name.startswith(".")
    assert folder.name.isprintable()
    assert len(folder.name) < 100


def test_control_names_without_care_leave_the_folder():
    assert (Path("runs") / "../../evil-1").resolve().parent != Path("runs").resolve()


@pytest.mark.parametrize("ended", [False, True])
def test_a_name_that_another_process_takes_meanwhile_is_left_to_it(tmp_path, ended):
    """Two runs that begin at the same instant are both given the first free name; the second goes to the next."""
    with contextlib.ExitStack() as others:

        def fresh() -> Path:
            folder = fresh_folder("town", tmp_path)
            if folder.name == "town-1" and ended:
                put(folder, {"run.json": "{}"})
            elif folder.name == "town-1":
                others.enter_context(lock.held(folder))
            return folder

        with new_place(None, fresh=fresh) as place:
            assert place.folder == tmp_path / "town-2"


def test_a_folder_that_cannot_be_made_is_said_once(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with (
        pytest.raises(StorageError, match="runs"),
        new_place(None, fresh=lambda: fresh_folder("town", tmp_path / "runs")),
    ):
        pass


def test_a_name_beside_a_run_is_given_once(tmp_path):
    run = tmp_path / "town"
    assert [reserved_beside(run, "fork").name for _ in range(3)] == ["town-fork-1", "town-fork-2", "town-fork-3"]
    check_new(tmp_path / "town-fork-1")
