"""`imss dashboard`: a W&B workspace for one dataset, built from the names that `bench LOGGER=wandb` logs under."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.metrics.subsets import modality_subsets, subset_name
from usererror import UserError

if TYPE_CHECKING:
    from wandb_workspaces import workspaces as ws

T = TypeVar("T")
HEADLINE = {"average": "Average", "top1": "Top-1", "last1": "Last-1"}
COSTS = {
    "parameters_m": "trainable parameters, 1e6",
    "gmac": "GMAC of a window",
    "fit_s": "seconds of training",
}
PAINTING_LOSSES = ("adversarial", "discriminator", "l1", "l2")
SCALES = (1, 2, 3, 4)
STEP = "trainer/global_step"
LOGIN = "Not logged in to W&B (or WANDB_MODE is offline): run `.venv/bin/wandb login`, then `make dashboard` again."
EXTRA = "The dashboard needs wandb-workspaces: run `.venv/bin/uv pip install 'wandb-workspaces>=0.4.13'`, then again."


def told(call: Callable[[T], str], argument: T) -> str:
    """`call(argument)`; what W&B answers with (a refused key, an unknown team, no server) becomes a UserError."""
    try:
        return call(argument)
    except UserError:
        raise
    except Exception as error:  # the client's errors have no class in common, and some are private
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"W&B: {reason[0].rstrip('.')}.") from error


def entity_of_user(chosen: str) -> str:
    """The chosen W&B user or team, or the user's own; UserError if nobody is logged in."""
    import wandb

    if not wandb.login(prompt=False):
        raise UserError(LOGIN)
    if not (entity := chosen or wandb.Api().default_entity):
        raise UserError("W&B names no entity of yours; name a user or team with ENTITY=.")
    return entity


def workspace(project: str, entity: str, data: str, letters: Mapping[str, str]) -> ws.Workspace:
    """The workspace of one dataset; nothing is asked of W&B.

    Runs are grouped by their W&B group, which is a row of the leaderboard: equal but for the seed. Every panel shows
    the mean of a group with the standard deviation over its seeds.

    Args:
        project: W&B project.
        entity: W&B user or team.
        data: dataset whose runs are shown; scores of different datasets do not belong into one panel.
        letters: {modality: letter} of the dataset, in the order of the table.
    """
    from wandb_workspaces import expr
    from wandb_workspaces import workspaces as ws

    subsets = [subset_name(subset, letters) for subset in modality_subsets(list(letters))]
    columns = ["summary:average_miou", "summary:top1_miou", "summary:last1_miou"]
    columns += ["config:protocol", "summary:parameters_m", "summary:gmac"]
    view = ws.Workspace(
        entity=entity,
        project=project,
        name=f"IMSS-Bench {data}",
        sections=[
            ws.Section(name=name, panels=panels, is_open=number < 2)
            for number, (name, panels) in enumerate(sections(subsets, letters).items())
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Config("data") == data),
            groupby=[expr.Metric("Group")],
            order=[expr.Ordering(expr.Summary("average_miou"), ascending=False)],
            pinned_columns=columns,
        ),
    )
    view._internal_name = f"nw-{view_key(data)}-v"
    return view


def sections(subsets: Sequence[str], letters: Mapping[str, str]) -> dict[str, list[Any]]:
    """{section: its panels}; `subsets` are named as in the tables, the last one is the full set."""
    from wandb_workspaces.reports import v2 as wr

    seeds: dict[str, Any] = {
        "groupby": wr.Metric("Group"),
        "groupby_aggfunc": "mean",
        "groupby_rangefunc": "stddev",
    }

    def bars(metric: str, title: str) -> Any:
        return wr.BarPlot(
            title=title, metrics=[metric], title_x="mIoU, per cent", max_bars_to_show=100, **seeds
        )

    def curve(title: str, **what: Any) -> Any:
        return wr.LinePlot(title=title, x=STEP, max_runs_to_show=100, **what, **seeds)

    def media(title: str, keys: Sequence[str]) -> Any:
        return wr.MediaBrowser(
            title=title, media_keys=list(keys), mode="grid", grid_x_axis="index", grid_y_axis="run"
        )

    robustness = [f"maps/robustness/{name}/{scale}" for scale in SCALES for name in letters]
    return {
        "Leaderboard": [bars(f"{key}_miou", f"{text} mIoU") for key, text in HEADLINE.items()],
        "Subsets": [bars(f"miou_{subset}", f"mIoU from {subset}") for subset in subsets],
        "Validation": [
            curve(f"{text} mIoU, validation", y=[f"val/{key}_miou"])
            for key, text in HEADLINE.items()
        ],
        "Cost against accuracy": [
            wr.ScatterPlot(
                title=f"Average mIoU against {text}",
                x=wr.SummaryMetric(key),
                y=wr.SummaryMetric("average_miou"),
                log_x=True,
            )
            for key, text in COSTS.items()
        ],
        "Tables": [
            wr.WeavePanelSummaryTable(table_name=name) for name in ("subset_scores", "class_scores")
        ],
        "Examples": [
            media("Modalities and label", [f"examples/{name}" for name in (*letters, "label")]),
            *(
                media(f"Prediction from {subset}", [f"examples/prediction/{subset}"])
                for subset in subsets
            ),
        ],
        "Diagnostics": [
            curve("Training loss", y=["train/loss"]),
            curve("Losses of painting", y=[f"train/{name}" for name in PAINTING_LOSSES]),
            *(
                curve(
                    f"Robustness at scale {scale}",
                    metric_regex=f"diagnostics/robustness/.*/{scale}",
                )
                for scale in SCALES
            ),
            media("Robustness maps", robustness),
            media(
                "Masks of MCRM, and hard pixels",
                [*(f"maps/masked/{name}" for name in letters), "maps/hard"],
            ),
        ],
    }


def view_key(data: str) -> str:
    """Eleven letters and digits that name the view of a dataset, so that it is saved over itself."""
    return hashlib.sha256(f"imss-bench {data}".encode()).hexdigest()[:11]


def save(view: ws.Workspace) -> str:
    """Save a workspace, over an earlier one of the same name if there is one; returns its address."""
    key = view._internal_name.removeprefix("nw-").removesuffix("-v")
    try:  # the library reads entity, project and key from this address; it asks the user's own server
        earlier = type(view).from_url(f"https://wandb.ai/{view.entity}/{view.project}?nw={key}")
        view._internal_id = earlier._internal_id
    except ValueError:
        pass  # there is none yet
    return str(view.save().url)
