"""A record of a part of the scenes never stands beside whole ones."""

from __future__ import annotations

import inspect
from pathlib import Path

import lightning as L
import pytest

from benchmark.records.selection import select_records
from benchmark.records.trainer_options import WHOLE, partial_option
from tests.support.toy_records import toy_record


def test_lightning_has_these_options_and_its_defaults_are_whole() -> None:
    defaults = inspect.signature(L.Trainer).parameters
    own = {"use_distributed_sampler": False}  # base.yaml says so
    given = {name: own.get(name, defaults[name].default) for name in WHOLE}
    assert partial_option(given) == ""


@pytest.mark.parametrize("given", [1, 7, 0.5, 0, 0.0])
def test_a_limit_of_the_test_scenes_is_partial(given: float) -> None:
    assert partial_option({"limit_test_batches": given})


def test_all_or_no_validation_is_whole() -> None:
    for given in (None, 1.0, 0, 0.0):
        assert not partial_option({"limit_val_batches": given})
    assert partial_option({"limit_val_batches": 1})


@pytest.mark.usefixtures("no_published_records")
def test_partial_records_of_earlier_versions_are_left_out(tmp_path: Path) -> None:
    whole = toy_record(tmp_path, "whole")
    toy_record(tmp_path, "part", config={"trainer": {"limit_test_batches": 1}})
    selection = select_records(tmp_path, ["toy"])["toy"]
    assert [record.path for record in selection.records] == [whole.path]
    assert "limit_test_batches 1" in " ".join(selection.skipped)
