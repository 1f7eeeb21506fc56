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


def test_it_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell for cell in cells if cell.outputs or cell.execution_count is not None]


@pytest.mark.timeout(240)
def test_every_cell_does_what_its_text_says(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
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


def _text(outputs) -> str:
    return outputs[-1]["data"]["text/plain"]
