"""The placebo model, for authors: answers of any type, and a society without its script."""

from __future__ import annotations

import msgspec
from support.villages import FILE

import populace
from populace import Choice, Chosen
from populace.testing import placebo


class View(msgspec.Struct):
    attitude: int
    why: str


def test_an_answer_of_each_type_is_drawn_and_is_the_same_for_the_same_seed():
    assert isinstance(placebo(str), str)
    assert isinstance(placebo(View), View)
    chosen = placebo(Choice("yes", "no"))
    assert isinstance(chosen, Chosen)
    assert chosen.label in ("yes", "no")
    assert placebo(View, seed=3) == placebo(View, seed=3) != placebo(View, seed=4)
    assert len({placebo(str, nth=n) for n in range(5)}) == 5


def test_a_society_runs_without_its_script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = FILE.replace("size=SIZE", 'size=SIZE, scripted=lambda ask, draw: "yes"')
    (tmp_path / "told.py").write_text(script)
    (tmp_path / "drawn.py").write_text(
        script + "\nfrom populace.testing import without_script\nvillage = without_script(village)\n"
    )
    told, drawn = (populace.run(name, model="scripted", seed=3, quiet=True) for name in ("told.py", "drawn.py"))
    assert (told.manifest["answers"], drawn.manifest["answers"]) == ("scripted", "placebo")
    assert told.manifest["trace_hash"] != drawn.manifest["trace_hash"]
