"""A W&B workspace for one dataset, with a panel for every key of `keys.py` that has a section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.metrics.subsets import modality_subsets, subset_name
from benchmark.tracking.keys import KEYS, LoggedKey
from usererror import UserError

if TYPE_CHECKING:
    from wandb_workspaces import workspaces as ws

T = TypeVar("T")
STEP = "trainer/global_step"
OPEN = ("Leaderboard", "Subsets")
COLUMNS = (
    *("config:protocol", "summary:average_miou", "summary:top1_miou", "summary:last1_miou"),
    *("summary:parameters_m", "summary:gmac"),
)
INSTALL = ".venv/bin/uv pip install 'wandb-workspaces>=0.4.13'"
EXTRA = f"The workspace needs wandb-workspaces: run `{INSTALL}`, then again."


def call_wandb(call: Callable[..., T], *arguments: Any) -> T:
    """Call a function that asks W&B; a refused key, an unknown team or no server is a UserError."""
    try:
        return call(*arguments)
    except UserError:
        raise
    except Exception as error:  # the client's errors have no class in common; some are private
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"W&B: {reason[0].rstrip('.')}.") from error


def entity_of_user(chosen: str) -> str:
    """Return the chosen W&B user or team, or the user's own; a UserError if nobody is logged in."""
    import wandb

    if not wandb.login(prompt=False):
        problem = "Not logged in to W&B (or WANDB_MODE is offline): run `.venv/bin/wandb login`"
        raise UserError(f"{problem}, then `make wandb-workspace` again.")
    if not (entity := chosen or wandb.Api().default_entity):
        raise UserError("W&B names no entity of yours; name a user or team with ENTITY=.")
    return entity


def build_workspace(
    project: str, entity: str, data: str, letters: Mapping[str, str], sweep: str = ""
) -> ws.Workspace:
    """Build the workspace of one dataset, or of its runs of one sweep; nothing is asked of W&B.

    Every panel shows the mean of a group with the standard deviation over its seeds. `letters` are
    {modality: letter} of the dataset, in the order of the table.
    """
    from wandb_workspaces import expr
    from wandb_workspaces import workspaces as ws

    sections = []
    for name, panels in workspace_sections(letters).items():
        sections.append(ws.Section(name=name, panels=panels, is_open=name in OPEN))
    # scores of two datasets do not belong into one panel
    shown: Any = expr.Config("data") == data
    if sweep:
        # which every run of a sweep has as a tag
        shown = expr.And(shown, expr.Tags().isin([sweep]))
    return ws.Workspace(
        entity=entity,
        project=project,
        name=" ".join(filter(None, ["IMSS-Bench", data, sweep])),
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(shown),
            # a row of the leaderboard: equal but for the seed
            groupby=[expr.Metric("Group")],
            order=[expr.Ordering(expr.Summary("average_miou"), ascending=False)],
            pinned_columns=list(COLUMNS),
        ),
    )


def workspace_sections(letters: Mapping[str, str]) -> dict[str, list[Any]]:
    """Build the panels of every section, in the order of the keys."""
    subsets = [subset_name(subset, letters) for subset in modality_subsets(list(letters))]
    sections: dict[str, list[Any]] = {}
    for key in KEYS:
        if not key.section:
            # too many for a panel each; W&B finds them by name
            continue
        for value in key.values(subsets, list(letters)):
            panel = _panel(key, key.name.format(**value), key.title.format(**value))
            sections.setdefault(key.section, []).append(panel)
    return sections


def _panel(key: LoggedKey, name: str, title: str) -> Any:
    from wandb_workspaces.reports import v2 as wr

    seeds: dict[str, Any] = {"groupby": wr.Metric("Group")}
    seeds |= {"groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    if key.section == "Tables":
        return wr.WeavePanelSummaryTable(table_name=name)
    if key.section == "Examples":
        grid: dict[str, Any] = {"mode": "grid", "grid_x_axis": "index", "grid_y_axis": "run"}
        return wr.MediaBrowser(title=title, media_keys=[name], **grid)
    if key.section == "Cost":
        title = f"Average mIoU against {title}"
        x, y = wr.SummaryMetric(name), wr.SummaryMetric("average_miou")
        return wr.ScatterPlot(title=title, x=x, y=y, log_x=True)
    if key.section == "Curves":
        # what only the method knows by name is drawn in one panel
        whole = {"metric_regex": f"^{key.pattern}$"}
        what: dict[str, Any] = whole if "{" in name else {"y": [name]}
        return wr.LinePlot(title=title, x=STEP, max_runs_to_show=100, **what, **seeds)
    seeds |= {"title_x": key.unit, "max_bars_to_show": 100}
    return wr.BarPlot(title=title, metrics=[name], **seeds)


def save_workspace(view: ws.Workspace, memory: Path) -> str:
    """Save a workspace over the one whose address `memory` keeps, if any; returns its address."""
    if memory.exists():
        earlier = type(view).from_url(memory.read_text(encoding="utf-8").strip())
        earlier.name, earlier.sections = view.name, view.sections
        earlier.settings, earlier.runset_settings = view.settings, view.runset_settings
        view = earlier
    url = str(view.save().url)
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(url + "\n", encoding="utf-8")
    return url
