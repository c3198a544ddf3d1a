"""The W&B workspace, field by field in the library's own model, and what the command says without an account."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from wandb_workspaces.workspaces import Workspace

from benchmark.__main__ import main
from benchmark.tracking.wandb_workspace import view_key, workspace

LETTERS = {"rgb": "R", "sar": "S"}
SEEDS = {"groupBy": "group", "groupAgg": "mean", "groupArea": "stddev", "aggregate": True}


@pytest.fixture(scope="module")
def section() -> dict[str, Any]:
    model = workspace("maps", "lab", "dfc2023", LETTERS)._to_model()
    assert (model.entity, model.project, model.display_name) == (
        "lab",
        "maps",
        "IMSS-Bench dfc2023",
    )
    return model.model_dump(by_alias=True, exclude_none=True)["spec"]["section"]


def panels(section: dict[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    """(kind, configuration without the title) of the panels of a section."""
    bank = {entry["name"]: entry["panels"] for entry in section["panelBankConfig"]["sections"]}
    return [
        (p["viewType"], {k: v for k, v in p["config"].items() if k != "chartTitle"})
        for p in bank[name]
    ]


def test_runs_of_one_dataset_grouped_as_rows_of_the_leaderboard(section: dict[str, Any]) -> None:
    (runs,) = section["runSets"]
    assert [
        (f["key"]["section"], f["key"]["name"], f["op"], f["value"])
        for f in runs["filters"]["filters"]
    ] == [("config", "data", "=", "dfc2023")]
    assert runs["grouping"] == [{"section": "run", "name": "group"}]
    assert runs["sort"]["keys"] == [
        {"key": {"section": "summary", "name": "average_miou"}, "ascending": False}
    ]
    headline = ["summary:average_miou", "summary:top1_miou", "summary:last1_miou"]
    cost = ["config:protocol", "summary:parameters_m", "summary:gmac"]
    assert runs["runFeed"]["columnOrder"] == ["run:displayName", *headline, *cost]
    assert section["settings"]["xAxis"] == "trainer/global_step"
    assert (
        section["settings"]["maxRuns"] == 100
        and section["settings"]["shouldAutoGeneratePanels"] is False
    )


def test_sections_in_order_and_the_first_two_open(section: dict[str, Any]) -> None:
    names = [
        "Leaderboard",
        "Subsets",
        "Validation",
        "Cost against accuracy",
        "Tables",
        "Examples",
        "Diagnostics",
    ]
    entries = section["panelBankConfig"]["sections"]
    assert [entry["name"] for entry in entries] == names
    assert [entry["isOpen"] for entry in entries] == [True] * 2 + [False] * 5


def test_bars_have_a_mean_and_a_deviation_per_row(section: dict[str, Any]) -> None:
    for name, metrics in {
        "Leaderboard": ["average_miou", "top1_miou", "last1_miou"],
        "Subsets": ["miou_R", "miou_S", "miou_R+S"],
    }.items():
        shown = {"vertical": False, "xAxisTitle": "mIoU, per cent", "barLimit": 100, **SEEDS}
        assert panels(section, name) == [
            ("Bar Chart", {"metrics": [metric], **shown}) for metric in metrics
        ]


def test_curves_show_seeds_as_bands(section: dict[str, Any]) -> None:
    shown = {"xAxis": "trainer/global_step", "limit": 100, **SEEDS}
    names = ["val/average_miou", "val/top1_miou", "val/last1_miou"]
    assert panels(section, "Validation") == [
        ("Run History Line Plot", {"metrics": [name], **shown}) for name in names
    ]
    diagnostics = panels(section, "Diagnostics")
    painting = ["train/adversarial", "train/discriminator", "train/l1", "train/l2"]
    regexes = [f"diagnostics/robustness/.*/{scale}" for scale in (1, 2, 3, 4)]
    assert diagnostics[:6] == [
        ("Run History Line Plot", {"metrics": ["train/loss"], **shown}),
        ("Run History Line Plot", {"metrics": painting, **shown}),
        *(
            (
                "Run History Line Plot",
                {"metrics": [], **shown, "metricRegex": regex, "useMetricRegex": True},
            )
            for regex in regexes
        ),
    ]


def test_cost_against_accuracy_has_a_point_per_run(section: dict[str, Any]) -> None:
    assert panels(section, "Cost against accuracy") == [
        (
            "Scatter Plot",
            {"xAxis": f"summary:{cost}", "yAxis": "summary:average_miou", "xAxisLogScale": True},
        )
        for cost in ("parameters_m", "gmac", "fit_s")
    ]


def test_media_have_a_row_per_run_and_a_column_per_scene(section: dict[str, Any]) -> None:
    grid = {"mode": "grid", "gridSettings": {"xAxis": "index", "yAxis": "run"}}
    examples = [["examples/rgb", "examples/sar", "examples/label"]]
    examples += [[f"examples/prediction/{subset}"] for subset in ("R", "S", "R+S")]
    assert panels(section, "Examples") == [
        ("Media Browser", {"mediaKeys": keys, **grid}) for keys in examples
    ]
    maps = [f"maps/robustness/{m}/{scale}" for scale in (1, 2, 3, 4) for m in LETTERS]
    assert panels(section, "Diagnostics")[6:] == [
        ("Media Browser", {"mediaKeys": maps, **grid}),
        (
            "Media Browser",
            {"mediaKeys": ["maps/masked/rgb", "maps/masked/sar", "maps/hard"], **grid},
        ),
    ]


def test_tables_are_read_from_the_runs_summaries(section: dict[str, Any]) -> None:
    found = panels(section, "Tables")
    assert [kind for kind, _ in found] == ["Weave", "Weave"]
    keys = [config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"] for _, config in found]
    assert keys == ["subset_scores", "class_scores"]


def test_the_library_reads_back_what_was_built() -> None:
    view = workspace("maps", "lab", "dfc2023", LETTERS)
    again = Workspace._from_model(view._to_model())
    first, second = (
        w._to_model().spec.section.panel_bank_config.model_dump() for w in (view, again)
    )
    assert first == second


def test_a_dataset_has_one_view_that_is_saved_over_itself() -> None:
    names = {
        workspace("maps", "lab", data, LETTERS)._to_model().name
        for data in ("dfc2023", "dfc2023", "potsdam")
    }
    assert names == {f"nw-{view_key('dfc2023')}-v", f"nw-{view_key('potsdam')}-v"}
    assert all(
        len(view_key(data)) == 11 and view_key(data).isalnum() for data in ("dfc2023", "potsdam")
    )


def test_logged_out_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_IDENTITY_TOKEN_FILE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "no-settings"))
    assert main(["dashboard"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "Not logged in" in lines[0] and "wandb login" in lines[0]


def test_without_the_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    assert main(["dashboard"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "uv pip install 'wandb-workspaces" in lines[0]
