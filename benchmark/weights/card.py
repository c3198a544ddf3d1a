"""The model card of published weights: a README that model hubs read.

Its front matter is Hugging Face's (licence, tags, scores as `model-index`). Nothing of this machine
stands in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isnan
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from benchmark.experiment.restore import TrainedRun
from benchmark.formats.markdown import escape_markdown, markdown_rows
from benchmark.method_table import MethodEntry, method_entry
from benchmark.metrics.confusion import Scores
from benchmark.metrics.summaries import average_top1_last1
from benchmark.records.record import Record
from benchmark.weights.sources import NOT_STATED, Weights, weights_in
from datamodules.loading.inference_rasters import ModalitySpec
from methods.frozen_vit import frozen_names

# measure -> its name on the hub
MEASURES = {"mIoU": "mean_iou", "mF1": "f1", "OA": "accuracy"}
LOAD = """import imss

run = imss.load_weights("model.safetensors")
logits = imss.predict_images(run, {inputs})  # (B, K, H, W)
labels = [run.inputs.output_names[k] for k in logits[0].argmax(0).unique()]
print(labels)
"""
OTHER = "other"  # a licence that the hub has no word for
STORE_AWAY = "unknown here, since the data were not at hand when this was written"
FROZEN = (
    "The backbone is frozen and not in the file: `imss.load_weights` has it from timm, or from "
    "its argument `pretrained_path`; one of random weights is drawn again."
)
SMALL = "**A trial**: a small recipe of minutes. These scores say nothing of the method."


def model_card(trained: TrainedRun, record: Record, about: Mapping[str, Any], licence: str) -> str:
    """Write the card of a run.

    Args:
        trained: the run.
        record: its scores.
        about: title, licence and citation of the data, as its store has them.
        licence: of the weights, as the hub spells it, or `other`.
    """
    manifest, entry = record.manifest, method_entry(trained.request.variant)
    started = weights_in(trained.config["model"], trained.inputs.channels)
    title = str(about.get("title") or manifest.data)
    parts = [
        f"# {escape_markdown(entry.name)}, {escape_markdown(title)}",
        _introduction(trained, entry, title),
        "" if manifest.scale == "paper" else SMALL,
        "## Load",
        f"```python\n{load_code(trained)}```",
        "`imss` is IMSS-Bench. Images are arrays (B, C, H, W) in the units below; any may be left "
        "out, but not all.",
        "## Scores",
        _scores(record),
        _protocol(record),
        "## Input and classes",
        _inputs(trained.inputs.modalities.values()),
        f"Windows of {trained.inputs.window} px, one every {trained.inputs.stride} px. Classes: "
        f"{', '.join(map(escape_markdown, trained.inputs.output_names))}.",
        "## Data and licence",
        _licences(about, licence, started, title),
        FROZEN if frozen_names(trained.model) else "",
    ]
    front = _front_matter(trained, record, title, licence, started)
    return f"---\n{front.strip()}\n---\n\n" + "\n\n".join(filter(None, parts)) + "\n"


def load_code(trained: TrainedRun) -> str:
    """Write the lines that load the file and predict from all sensors."""
    names = ", ".join(f'"{name}": {name}' for name in trained.inputs.modalities)
    return LOAD.replace("{inputs}", f"{{{names}}}")


def _front_matter(
    trained: TrainedRun, record: Record, title: str, licence: str, started: Iterable[Weights]
) -> str:
    data = record.manifest.data
    results = []
    for subset, scores in record.scores().items():
        for measure, value in _percentages(scores).items():
            if isnan(value):
                continue
            results.append(
                EvalResult(
                    task_type="image-segmentation",
                    dataset_type=data,
                    dataset_name=title,
                    dataset_split="test",
                    metric_type=MEASURES[measure],
                    metric_name=f"{measure}, {subset}",
                    metric_value=round(value, 2),
                )
            )
    method = trained.request.variant
    bases = [one.repository for one in started if one.repository]
    card = ModelCardData(
        license=licence,
        license_name="see-the-card" if licence == OTHER else None,
        base_model=bases or None,
        library_name="imss-bench",
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", "multimodal", "missing-modality", "remote-sensing", method],
        datasets=[data],
        metrics=list(MEASURES.values()),
        model_name=f"{method} on {data}",
        eval_results=results,
    )
    return card.to_yaml()


def _introduction(trained: TrainedRun, entry: MethodEntry, title: str) -> str:
    sensors = ", ".join(f"{name} ({letter})" for name, letter in trained.inputs.letters.items())
    text = (
        f"Semantic segmentation of {escape_markdown(title)} from any non-empty subset of {sensors}"
    )
    text += f", by `{entry.method}`"
    idea = f": {entry.idea}" if entry.idea else ""
    paper = f" Paper: {entry.year}, [{entry.source}]({entry.address})." if entry.address else ""
    return f"{text}{idea}. Trained and scored with IMSS-Bench.{paper}"


def _percentages(scores: Scores) -> dict[str, float]:
    """Return each measure of one subset in per cent; nan where it was not scored."""
    values = {"mIoU": scores.miou, "mF1": scores.mf1, "OA": scores.oa}
    return {name: 100 * float(value) for name, value in values.items()}


def _scores(record: Record) -> str:
    lines = {name: list(_percentages(one).values()) for name, one in record.scores().items()}
    summaries = []
    for column in zip(*lines.values(), strict=True):
        summaries.append(average_top1_last1(column, record.subsets))
    for number, label in enumerate(("Average", "Top-1", "Last-1")):
        lines[f"**{label}**"] = [float(summary[number]) for summary in summaries]
    rows = []
    for name, values in lines.items():
        rows.append([name, *("-" if isnan(value) else f"{value:.2f}" for value in values)])
    return markdown_rows(["sensors at hand", *MEASURES], rows, "lrrr")


def _protocol(record: Record) -> str:
    manifest = record.manifest
    protocol = manifest.protocol
    text = (
        f"Per cent on the test part of `{protocol.split}`, protocol `{protocol.name}`; one run, "
        f"seed {manifest.seed}, {manifest.steps} steps, the {protocol.selected} checkpoint. "
        f"Identity of the run: `{manifest.identity}`, fingerprint of the data: "
        f"`{manifest.fingerprint[:16]}`."
    )
    if protocol.split_note:
        text += f" To be known of the split: {escape_markdown(protocol.split_note)}"
    if manifest.overrides:
        text += f" Settings of its own: {escape_markdown(' '.join(manifest.overrides))}."
    return text


def _inputs(specs: Iterable[ModalitySpec]) -> str:
    rows = []
    for spec in specs:
        known = spec.modality
        rule = "lowest value is 0" if spec.ranged else ""
        rule = "above the image's 5th percentile" if spec.lowered else rule
        rule = "in decibels" if known.kind == "sar_linear" else rule
        numbers = [
            ", ".join(f"{value:.4g}" for value in values) for values in (spec.mean, spec.std)
        ]
        unit = escape_markdown(known.unit or "-")
        rows.append([known.name, str(known.channels), known.kind, unit, rule or "-", *numbers])
    head = ["modality", "bands", "kind", "unit", "first", "mean", "standard deviation"]
    text = "`imss.predict_images` normalises: what `first` says, then less the mean, then divided."
    return f"{text}\n\n{markdown_rows(head, rows, 'lrlllll')}"


def _licences(
    about: Mapping[str, Any], licence: str, started: Iterable[Weights], title: str
) -> str:
    data = about.get("licence") or (NOT_STATED if about else STORE_AWAY)
    lines = [f"Trained on {escape_markdown(title)}, whose licence is: {escape_markdown(data)}."]
    if about.get("citation"):
        lines.append(f"Cite: {escape_markdown(about['citation'])}")
    own = "not chosen; the terms of what it was trained on hold" if licence == OTHER else licence
    lines.append(f"Licence of these weights: {own}.")
    for one in started:
        where = f" ({one.address})" if one.address else ""
        lines.append(f"Training started from `{one.name}`{where}, licence: {one.licence}.")
    return "\n".join(f"- {line}" for line in lines)
