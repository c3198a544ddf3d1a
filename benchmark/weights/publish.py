"""A run as a folder that a model hub takes: weights and their card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.experiment.restore import TrainedRun, load_trained_run
from benchmark.records.record import Record, read_record
from benchmark.weights.card import model_card
from benchmark.weights.published import FILE, write_weights
from datamodules.store.names import check_name
from datamodules.store.scene_store import DATASET_FILE, SceneStore, write_text_whole

CARD = "README.md"


def publish_weights(
    run_dir: Path, out: Path, licence: str = "other", trust: bool = False
) -> tuple[Path, Path]:
    """Write `model.safetensors` and `README.md` of a finished run; return their paths.

    Raises:
        UserError: the run is none, or has no whole record yet.
    """
    trained, record = load_trained_run(run_dir, trust), read_record(run_dir / "record")
    card = model_card(trained, record, _about_data(trained, record), licence)
    write_weights(trained, out / FILE)
    write_text_whole(out / CARD, card)
    return out / FILE, out / CARD


def _about_data(trained: TrainedRun, record: Record) -> dict[str, Any]:
    """What the scene store says of the data, where it is at hand and still the same."""
    name = check_name("dataset", trained.config["data"]["init_args"]["name"])
    root = trained.request.store / name
    if not (root / DATASET_FILE).is_file():
        return {}
    store = SceneStore.open(root)
    return store.info if store.fingerprint == record.manifest.fingerprint else {}
