"""The W&B workspace in the library's own model, and what the command says without an account."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from wandb_workspaces.workspaces import Workspace

from benchmark.__main__ import main
from benchmark.tracking.wandb_workspace import build_workspace, save_workspace

LETTERS = {"rgb": "R", "sar": "S"}


def test_runs_of_one_dataset_grouped_as_rows_of_the_leaderboard() -> None:
    model = build_workspace("maps", "lab", "dfc2023", LETTERS)._to_model()
    assert (model.entity, model.project) == ("lab", "maps")
    section = model.model_dump(by_alias=True, exclude_none=True)["spec"]["section"]
    (runs,) = section["runSets"]
    (condition,) = runs["filters"]["filters"]
    assert (condition["key"]["name"], condition["op"], condition["value"]) == (
        "data",
        "=",
        "dfc2023",
    )
    assert runs["grouping"] == [{"section": "run", "name": "group"}]
    key = {"section": "summary", "name": "average_miou"}
    assert runs["sort"]["keys"] == [{"key": key, "ascending": False}]


def test_the_library_reads_back_what_was_built() -> None:
    view = build_workspace("maps", "lab", "dfc2023", LETTERS)
    again = Workspace._from_model(view._to_model())
    first, second = (
        w._to_model().spec.section.panel_bank_config.model_dump() for w in (view, again)
    )
    assert first == second


def test_a_workspace_is_saved_over_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is asked for the view that was saved before; what it holds is replaced."""
    saved: list[Workspace] = []

    def save(view: Workspace) -> Workspace:
        saved.append(view)
        view._internal_name = view._internal_name or f"nw-view{len(saved)}-v"
        return view

    monkeypatch.setattr(Workspace, "save", save)
    monkeypatch.setattr(Workspace, "from_url", classmethod(lambda cls, url: saved[0]))
    monkeypatch.setattr(Workspace, "url", property(lambda view: view._internal_name))
    memory = tmp_path / "tiny" / "workspace.txt"
    for letters in (LETTERS, {"rgb": "R"}):
        view = build_workspace("maps", "lab", "tiny", letters)
        assert save_workspace(view, memory) == "nw-view1-v"
    names = {section.name: len(section.panels) for section in saved[1].sections}
    assert names["Subsets"] == 1


def test_logged_out_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_IDENTITY_TOKEN_FILE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "no-settings"))
    assert main(["wandb-workspace"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "Not logged in" in lines[0] and "wandb login" in lines[0]


def test_without_the_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    assert main(["wandb-workspace"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "uv pip install 'wandb-workspaces" in lines[0]
