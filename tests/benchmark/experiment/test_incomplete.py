"""Incomplete training as a protocol: what it changes, what it leaves, and what the record says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark import choices
from benchmark.__main__ import main
from benchmark.experiment.identity import identify_config
from benchmark.records.manifest import read_manifest
from datamodules.base import SceneDataModule
from tests.benchmark.experiment.test_cli import parse

NAMES = ("incomplete", "incomplete_60", "incomplete_imbalanced")


def protocol(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(
        (choices.CONFIGS / "protocol" / f"{name}.yaml").read_text()
    )
    return content


@pytest.mark.parametrize("name", NAMES)
def test_they_are_the_standard_one_with_gaps(name: str) -> None:
    mine, standard = protocol(name), protocol("standard")
    assert mine["data"]["init_args"].pop("gap_rates")
    assert mine["cell"].pop("protocol") == name and standard["cell"].pop("protocol") == "standard"
    assert mine == standard


@pytest.mark.parametrize(
    ("data", "rates"),
    [
        ("miniature", {"rgb": 0.1, "dsm": 0.5, "nir": 0.7}),
        ("vaihingen", {"irrg": 0.1, "dsm": 0.5}),
        ("dfc2023_miniature", {"rgb": 0.1, "dsm": 0.5, "sar": 0.7}),
        ("deliver", {"rgb": 0.1, "depth": 0.5, "event": 0.7, "lidar": 0.7}),
    ],
)
def test_a_dataset_names_its_own_sensors(data: str, rates: dict[str, float]) -> None:
    parsed = parse("control", data, "incomplete_imbalanced")
    assert parsed["data"]["init_args"]["gap_rates"] == rates
    assert parse("control", data, "incomplete")["data"]["init_args"]["gap_rates"] == 0.3


def test_identities_without_gaps_are_those_of_before() -> None:
    plain = parse("control", "miniature")
    options = plain["data"]["init_args"]
    assert not {"gap_rates", "gap_seed"} & set(options)
    base = identify_config(plain, "f")
    options |= {"gap_rates": None, "gap_seed": None}
    assert identify_config(plain, "f") == base
    given = [("--data.gap_rates", "0.3"), ("--data.gap_rates", "0.3", "--data.gap_seed", "1")]
    found = [identify_config(parse("control", "miniature", "standard", 0, *w), "f") for w in given]
    assert len({base, *found}) == 3 and len({base[1], *(group for _, group in found)}) == 3
    seeds = [identify_config(parse("control", "miniature", "incomplete", n), "f") for n in (0, 1)]
    assert seeds[0][1] == seeds[1][1], "gaps that follow the seed leave its rows one group"


def bench(stores: Path, runs: Path, *words: str) -> int:
    places = ["--data", "tiny", "--store", str(stores), "--runs", str(runs)]
    length = ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1"]
    length += ["--data.window", "32", "--trainer.enable_progress_bar", "false"]
    return main(["bench", "--method", "control", *places, *length, *words])


def test_the_record_says_which_scenes_saw_what(
    many_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(many_stores, tmp_path, "--protocol", "incomplete_60") == 0
    (record,) = tmp_path.rglob("manifest.json")
    manifest = read_manifest(record.parent)
    data = SceneDataModule("tiny", str(many_stores), gap_rates=0.6)
    assert manifest.training_gaps == data.training_gaps and data.training_gaps
    assert manifest.protocol.label == "incomplete_60, best"
    lost = sum("dsm" in names for names in data.training_gaps.values())
    assert f"dsm of {lost}" in capsys.readouterr().out
    # records of before
    content = manifest.model_dump()
    del content["training_gaps"]
    assert type(manifest)(**content).training_gaps == {}


def test_a_sensor_that_the_data_lacks_is_one_line(
    many_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--protocol", "incomplete_imbalanced", "--data.modalities", "[rgb,dsm]"]
    assert bench(many_stores, tmp_path, *words) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].endswith("data.gap_rates names nir; give rates for some of rgb, dsm.")
