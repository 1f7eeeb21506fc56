"""A society made in a notebook's cells, in a real kernel: run, forked, drawn, interrupted and resumed."""

from __future__ import annotations

import asyncio
import threading
import time

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from support.villages import AGENTS, IMPORTS, KNOBS, OUTCOMES, SOCIETY

import populace

MADE = [IMPORTS, "print('nothing that the society needs')", KNOBS, AGENTS, OUTCOMES, SOCIETY]
RUN = "control = populace.run(village, model='scripted', seed=3, out='control', quiet=True)"


@pytest.fixture
def notebook(tmp_path):
    """Runs cells one after another in one kernel; gives what the last one printed or showed."""
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=600, resources={"metadata": {"path": str(tmp_path)}})

    def run(*cells: str) -> str:
        for text in cells:
            client.nb.cells.append(nbformat.v4.new_code_cell(text))
            cell = client.execute_cell(client.nb.cells[-1], len(client.nb.cells) - 1)
        shown = [one.get("text", one.get("data", {}).get("text/plain", "")) for one in cell.outputs]
        return "".join(shown)

    run.client = client
    with client.setup_kernel():
        yield run


def said(notebook, *cells: str) -> str:
    with pytest.raises(CellExecutionError) as error:
        notebook(*cells)
    return error.value.evalue


def test_a_society_of_cells_runs_on_shards_replays_forks_and_is_drawn(notebook, tmp_path):
    notebook(*MADE, RUN)
    run = populace.load(tmp_path / "control")
    kept = (tmp_path / "control/run.json").read_text()
    assert "class Villager" in kept
    assert "nothing that the society needs" not in kept
    assert '<cells>.py:village"' in kept
    (tmp_path / "village.py").write_text(IMPORTS + KNOBS + AGENTS + OUTCOMES + SOCIETY)
    as_a_file = populace.run(tmp_path / "village.py", model="scripted", seed=3, out=tmp_path / "file", quiet=True)
    assert run.manifest["trace_hash"] == as_a_file.manifest["trace_hash"]
    assert notebook("parted = populace.run(village, model='scripted', seed=3, shards=2, quiet=True)",
                    "parted.manifest['trace_hash'] == control.manifest['trace_hash']") == "True"  # fmt: skip
    assert notebook("populace.replay(control, quiet=True).diverged") == ""
    notebook("ban = populace.fork(control, 2, levers=[{'block': {'sender': [2]}}], quiet=True)")
    drawn = notebook("ax = control.plot('share', label='control')\nban.plot('share', ax=ax, label='ban')\nax.figure")
    assert "Figure" in drawn
    pictures = [one.data for one in notebook.client.nb.cells[-1].outputs if "image/png" in one.get("data", {})]
    assert pictures


def test_interrupted_in_a_cell_and_resumed_from_the_next(notebook, tmp_path):
    notebook(*MADE, RUN)

    def press():
        while not list(tmp_path.glob("slow/journal/*")):
            time.sleep(0.02)
        asyncio.run(notebook.client.km.interrupt_kernel())

    threading.Thread(target=press, daemon=True).start()
    slow = RUN.replace("control", "slow").replace("quiet", "settings={'model.latency.median_s': 0.5}, quiet")
    assert "To go on: populace.resume('slow')" in said(notebook, slow)
    assert populace.load(tmp_path / "slow").status == "interrupted"
    again = "populace.resume('slow', settings={'model.latency.median_s': 0}, quiet=True).manifest['trace_hash']"
    assert notebook(f"{again} == control.manifest['trace_hash']") == "True"


def test_what_has_no_source_is_refused_by_name(notebook):
    notebook(*MADE)
    notebook("lines = !echo 8")
    notebook("def villagers(setup):\n    return Population({'heard': [n == int(lines[0]) for n in range(8)]})")
    notebook(SOCIETY)
    assert "lines: is made by a magic or a shell command" in said(notebook, RUN)
    notebook("globals()['lines'] = [8]\nlines_of = globals()['lines']", "del lines")
    notebook("get_ipython().push({'frame': [8]})", AGENTS.replace("n == 0", "n == frame[0]"), SOCIETY)
    assert "frame:" in said(notebook, RUN)
    assert "a list, that shards could make again" in said(notebook, RUN)
    notebook(AGENTS)
    assert "Villager has run again since the society was made" in said(notebook, RUN)
    assert notebook(SOCIETY, RUN, "control.status") == "'complete'"
