"""The notebook in `examples/`: it runs from top to bottom, and what is committed of it was run."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "notebook" / "python_interface.ipynb"
SHORT = "--trainer.max_steps 2 --trainer.val_check_interval 2 --data.stride 128"


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMSS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("IMSS_STORES", str(tmp_path / "stores"))
    monkeypatch.setenv("IMSS_OPTIONS", SHORT)
    # the checkout that is tested, whatever is installed
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # an error in a cell is raised here, with the cell
    nbclient.NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": NOTEBOOK.parent}},
    ).execute()
    assert (tmp_path / "runs" / "map.tif").is_file()


def test_what_is_committed_was_run_from_top_to_bottom() -> None:
    cells = [c for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert "error" not in [output.output_type for output in outputs]
    pictures = [output.data.pop("image/png", None) for output in outputs if "data" in output]
    assert len(list(filter(None, pictures))) == 2
    # what is left of them is text: none of it an absolute path, which only a machine has
    shown = json.dumps(outputs)
    assert "Average, Top-1, Last-1" in shown and not re.search(r"(?<![\w.:/<])/\w+/", shown)
