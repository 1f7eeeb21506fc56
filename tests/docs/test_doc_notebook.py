"""The documentation's notebook, executed cell by cell in a kernel, with the stop button pressed where it says so."""

from __future__ import annotations

import asyncio
import threading
import time

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from support.pages import ROOT

import populace

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


EXPERIMENT = ROOT / "docs" / "experiment-notebook.ipynb"


def _code(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_one_is_kept_without_outputs_and_the_other_to_be_looked_at():
    assert not [cell for cell in _code(NOTEBOOK) if cell.outputs or cell.execution_count is not None]
    shown = {cell.id: cell.outputs for cell in _code(EXPERIMENT)}
    assert all("image/png" in shown[cell][-1]["data"] for cell in ("forest", "course"))
    assert not [cell for cell, outputs in shown.items() if any(one.output_type != "execute_result" for one in outputs)]
    assert EXPERIMENT.stat().st_size < 300_000
    assert "/tmp/" not in EXPERIMENT.read_text(encoding="utf-8"), "no folder of whoever executed it"


def test_every_cell_does_what_its_text_says(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    shown = {}

    def press():
        while not list(tmp_path.glob("slow/journal/*")):
            time.sleep(0.02)
        asyncio.run(client.km.interrupt_kernel())

    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            if cell.id == "slow":
                threading.Thread(target=press, daemon=True).start()
                with pytest.raises(CellExecutionError, match=r"To go on: populace.resume\('slow'\)"):
                    client.execute_cell(cell, index)
                assert populace.load(tmp_path / "slow").status == "interrupted"
            else:
                shown[cell.id] = client.execute_cell(cell, index).outputs
    assert any("image/png" in output.get("data", {}) for output in shown["plot"])
    assert "Run('control'): complete, village, 60 agents, 12 ticks" in _text(shown["arms"])
    parted_at, replayed, billed = eval(_text(shown["diff"]))
    assert parted_at >= 3
    assert replayed > 0
    assert billed > 0
    same, taken_over = eval(_text(shown["resume"]))
    assert same
    assert taken_over >= 0


def test_an_experiment_goes_from_a_question_to_its_figures(tmp_path):
    notebook = nbformat.read(EXPERIMENT, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert "polarization, 3 arms x 8 replicates, complete, 24 of 24 runs" in _text(shown["run"])
    for cell in ("forest", "course"):
        assert "image/png" in shown[cell][-1]["data"]
    assert "replicates=" in _text(shown["power"])
    effects = populace.load(tmp_path / "study").effects()
    assert len(effects.found) == 4
    assert effects.of("opposing", "moderated").published == pytest.approx(0.56)
    page = (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    assert "answered by a rule mind" in page


def _text(outputs) -> str:
    return outputs[-1]["data"]["text/plain"]
