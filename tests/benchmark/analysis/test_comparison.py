"""Intervals of differences against literal resampling, scipy, and a case with known coverage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from benchmark.__main__ import main
from benchmark.analysis.bootstrap import (
    ResamplingUnits,
    draw_weights,
    measure_names,
    percentile_bounds,
    resample_measures,
    resampling_units,
)
from benchmark.analysis.comparison import (
    BootstrapOptions,
    compare_groups,
    judge_difference,
    select_named_groups,
)
from benchmark.metrics.confusion import ClassCounts
from benchmark.metrics.result import EvaluationResult
from benchmark.metrics.summaries import average_top1_last1
from benchmark.records.groups import seed_groups
from benchmark.records.record import Record, read_scenes
from benchmark.records.selection import Skipped
from tests.benchmark.leaderboard.test_leaderboard import leaderboard, record
from tests.support.strategies import scenes_of_methods
from tests.support.toy_records import CONVENTION, PROTOCOL, toy_folder, toy_record, toy_result
from usererror import UserError


def literal(entry: Record, result: EvaluationResult, chosen: list[int]) -> list[float]:
    """Scores of a test set that consists of the chosen scenes, some of them more than once."""
    drawn = replace(
        result,
        scenes=tuple(map(str, chosen)),
        counts=[result.counts[scene] for scene in chosen],
        scored=result.scored[:, chosen],
    )
    scores = drawn.scores(entry.convention).values()
    miou = [100 * subset.miou for subset in scores]
    return [
        *average_top1_last1(miou),
        float(np.mean([100 * subset.mf1 for subset in scores])),
        *miou,
    ]


def units(sums: np.ndarray) -> ResamplingUnits:
    """Scenes with counts `(scenes, subsets, 3, classes)`."""
    counts = ClassCounts(*np.moveaxis(sums, -2, 0))
    return ResamplingUnits("scenes", counts, tuple(map(str, range(len(sums)))))


def resampled(entry: Record, units: ResamplingUnits, weights: np.ndarray) -> np.ndarray:
    return resample_measures(units, entry.convention, weights)


def compared(records: list[Record], seed: int = 0, reverse: bool = False) -> pd.DataFrame:
    groups = seed_groups(records)[:: -1 if reverse else 1]
    return compare_groups(groups, BootstrapOptions(samples=200, seed=seed), Skipped())


def test_a_draw_is_scored_as_a_test_set_of_these_scenes(tmp_path: Path) -> None:
    result = toy_result(scenes=10)
    entry = toy_record(tmp_path, "sgma", result=result)
    units = resampling_units(entry, read_scenes(entry))
    assert units.kind == "scenes" and units.names == result.scenes
    weights = draw_weights(10, 5, seed=1)
    assert weights.sum(1).tolist() == [10] * 5
    values = resampled(entry, units, weights)
    for row, weight in zip(values, weights, strict=True):
        assert row == pytest.approx(
            literal(entry, result, np.repeat(np.arange(10), weight).tolist())
        )
    assert resampled(entry, units, np.ones((1, 10), int))[0] == pytest.approx(
        literal(entry, result, list(range(10)))
    )
    assert measure_names(seed_groups([entry])[0])[:5] == [
        "Average",
        "Top-1",
        "Last-1",
        "Average mF1",
        "mIoU R",
    ]


def test_large_resamplings_go_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = toy_record(tmp_path, "sgma")
    units, weights = resampling_units(entry, read_scenes(entry)), draw_weights(12, 20, seed=1)
    whole = resampled(entry, units, weights)
    monkeypatch.setattr("benchmark.analysis.bootstrap.CHUNK", 7 * 3 * units.counts.hits[0].size)
    assert np.array_equal(resampled(entry, units, weights), whole)


def test_few_scenes_are_drawn_by_block_and_empty_ones_not_at_all(tmp_path: Path) -> None:
    result = toy_result(scenes=3, blocks=4)
    result.counts[1][:, 2] = 0
    entry = toy_record(tmp_path, "sgma", result=result)
    units = resampling_units(entry, read_scenes(entry))
    assert units.kind == "blocks" and len(units.names) == 11 and "scene1/2" not in units.names


def test_scored_regions_are_those_of_the_protocol(tmp_path: Path) -> None:
    convention = replace(CONVENTION, regions=("interior",))
    result = toy_result()
    entry = toy_record(tmp_path, "eroded", result=result, convention=convention)
    units = resampling_units(entry, read_scenes(entry))
    average = np.mean([100 * subset.miou for subset in entry.scores().values()])
    assert resampled(entry, units, np.ones((1, 12), int))[0, 0] == pytest.approx(average)


def test_points_are_those_of_the_leaderboard_and_identical_methods_are_not_separable(
    tmp_path: Path,
) -> None:
    records = [toy_record(tmp_path, "one", seed) for seed in range(3)]
    records += [
        toy_record(tmp_path, name, seed, toy_result(seed=7 + seed))
        for name in ("copy", "same")
        for seed in (0, 1)
    ]
    lines = compared(records)
    board = leaderboard(records).set_index("method")
    first = lines[
        (lines["first"] == "copy pvt_v2_b0") & (lines["second"] == "one pvt_v2_b0")
    ].set_index("measure")
    for name in ("Average", "Top-1", "Last-1", "mIoU R+D"):
        assert first.loc[name, "first mean"] == pytest.approx(board.loc["copy", name])
        assert first.loc[name, "second mean"] == pytest.approx(board.loc["one", name])
        assert first.loc[name, "second std"] == pytest.approx(board.loc["one", f"{name} std"])
        assert first.loc[name, "low"] <= first.loc[name, "difference"] <= first.loc[name, "high"]
    twins = lines[(lines["first"] == "copy pvt_v2_b0") & (lines["second"] == "same pvt_v2_b0")]
    assert (twins[["difference", "low", "high"]] == 0).all(axis=None) and not twins[
        "separable"
    ].any()
    again = compared(records)
    assert again.equals(lines), "seeded"
    assert not compared(records, seed=1).equals(lines)


def test_clear_differences_are_separable_and_change_their_sign_with_the_order(
    tmp_path: Path,
) -> None:
    records = [
        toy_record(tmp_path, name, result=toy_result(skill))
        for name, skill in (("a", 0.5), ("b", 0.9))
    ]
    lines = compared(records)
    assert lines["separable"].all() and (lines["high"] < 0).all()
    back = compared(records, reverse=True)
    assert back["low"].to_numpy() == pytest.approx(-lines["high"].to_numpy())


def simulated(rng: np.random.Generator, scenes: int, methods: int) -> np.ndarray:
    """Counts `(methods, scenes, 1, 3, 2)`; scenes differ in size and ease, methods in skill."""
    truth = rng.gamma(2, 500, (scenes, 2)).astype(int) + 50
    ease = rng.beta(8, 3, (scenes, 2))
    result = []
    for method in range(methods):
        hits = rng.binomial(
            truth, np.clip(ease * (0.9 + 0.06 * method) + rng.normal(0, 0.05, ease.shape), 0, 1)
        )
        result.append(np.stack([hits, truth, hits + (truth - hits)[:, ::-1]], 1)[:, None])
    return np.array(result)


def test_intervals_cover_the_true_difference_as_often_as_they_say() -> None:
    """Whether 90 % intervals hold the difference of a million scenes, over 300 test sets of 40."""
    entry = record({"R": 50.0})

    def differences(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
        one, two = (resampled(entry, units(part), weights)[:, 0] for part in sums)
        return one - two

    rng = np.random.default_rng(5)
    large = simulated(rng, 200_000, 2)
    truth = differences(large.sum(1, keepdims=True), np.ones((1, 1), int))[0]
    covered = 0
    for trial in range(300):
        low, high = percentile_bounds(
            differences(simulated(rng, 40, 2), draw_weights(40, 400, seed=trial))[:, None], 90
        )
        covered += low[0] <= truth <= high[0]
    assert 0.84 <= covered / 300 <= 0.95, covered


def test_intervals_are_those_of_scipy() -> None:
    """The same statistic by scipy's percentile bootstrap, which draws the units itself."""
    (sums,) = simulated(np.random.default_rng(1), 60, 1)

    def average(picked: np.ndarray) -> float:
        hits, support, predicted = sums[picked].sum(0)[0]
        return 100 * float((hits / (support + predicted - hits)).mean())

    options = {"n_resamples": 4000, "vectorized": False, "random_state": 3}
    theirs = bootstrap((np.arange(60),), average, method="percentile", **options)
    draws = resampled(TWO_CLASSES, units(sums), draw_weights(60, 4000, seed=0))[:, :1]
    low, high = percentile_bounds(draws, 95)[:, 0]
    width = high - low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)


def test_draws_without_a_score_do_not_count() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    assert (
        percentile_bounds(values, 100).tolist()[0][0] == 1
        and percentile_bounds(values, 100)[1, 0] == 3
    )
    assert np.isnan(percentile_bounds(values, 95)[:, 1]).all()


TWO_CLASSES = record({"R": 50.0})


@given(scenes_of_methods(), st.integers(0, 100), st.floats(50, 99.9))
def test_intervals_of_degenerate_test_sets(sums: np.ndarray, seed: int, level: float) -> None:
    one, two = sums
    weights = draw_weights(len(one), 100, seed)
    point = resampled(TWO_CLASSES, units(one), np.ones((1, len(one)), int))
    alike = resampled(TWO_CLASSES, units(np.repeat(one[:1], len(one), 0)), weights)
    assert percentile_bounds(alike, level) == pytest.approx(np.repeat(alike[:1], 2, 0), abs=1e-9), (
        "scenes that are all the same"
    )
    whole = resampled(TWO_CLASSES, units(one.sum(0, keepdims=True)), draw_weights(1, 100, seed))
    assert whole == pytest.approx(np.repeat(point, 100, 0), abs=1e-9), (
        "a single scene can only be drawn itself"
    )
    difference = resampled(TWO_CLASSES, units(one), weights) - resampled(
        TWO_CLASSES, units(one), weights
    )
    assert not percentile_bounds(difference, level).any(), "a method and itself"
    ahead = resampled(TWO_CLASSES, units(one), weights) - resampled(
        TWO_CLASSES, units(two), weights
    )
    assert percentile_bounds(-ahead, level) == pytest.approx(
        -percentile_bounds(ahead, level)[::-1], abs=1e-9
    ), "in the other order"
    assert percentile_bounds(ahead, 100) == pytest.approx(np.stack([ahead.min(0), ahead.max(0)])), (
        "all draws"
    )
    low, high = percentile_bounds(ahead, level)
    wide_low, wide_high = percentile_bounds(ahead, (level + 100) / 2)
    assert (wide_low <= low).all() and (low <= high).all() and (high <= wide_high).all()


@given(scenes_of_methods(methods=1), st.integers(2, 50), st.integers(0, 100))
def test_intervals_do_not_depend_on_the_unit_of_counting(
    sums: np.ndarray, times: int, seed: int
) -> None:
    weights = draw_weights(sums.shape[1], 100, seed)
    more = resampled(TWO_CLASSES, units(times * sums[0]), weights)
    assert more == pytest.approx(resampled(TWO_CLASSES, units(sums[0]), weights), abs=1e-9)
    backwards = resampled(TWO_CLASSES, units(sums[0, ::-1]), weights[:, ::-1])
    assert backwards == pytest.approx(resampled(TWO_CLASSES, units(sums[0]), weights), abs=1e-9)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"separable": False, "difference": 1.0, "seeds' spread": 0.1}, "not separable"),
        ({"separable": True, "difference": -1.0, "seeds' spread": 2.0}, "within the seeds' spread"),
        ({"separable": True, "difference": -3.0, "seeds' spread": 2.0}, ""),
        ({"separable": True, "difference": 1.0, "seeds' spread": float("nan")}, ""),
    ],
)
def test_verdicts(line: dict[str, Any], expected: str) -> None:
    assert judge_difference(line) == expected


def test_names_that_fit_no_row_or_several() -> None:
    rows = seed_groups(
        [
            record({"R": 1.0}),
            record({"R": 2.0}, group="abc", variant="g", backbone="resnet50"),
            record(
                {"R": 2.0}, group="other", protocol=PROTOCOL.model_copy(update={"name": "sgma"})
            ),
        ]
    )
    same = PROTOCOL.model_copy(update={"name": "sgma"})
    pair = seed_groups([record({"R": 1.0}, group=name, protocol=same) for name in ("one", "two")])
    assert [row.group for row in select_named_groups(pair, ["two", "one"])] == ["two", "one"]
    for words, message in (
        (["g", "other"], "stands for several rows; name one by its group: .*resnet50"),
        (["nosuch", "g"], "No record of method 'nosuch' .* there are records of: g, other"),
        (["abc", "other"], "different protocols"),
        (["abc", "abc"], "at least two"),
    ):
        with pytest.raises(UserError, match=message):
            select_named_groups(rows, words)


def test_records_that_are_not_paired_are_refused(tmp_path: Path) -> None:
    records = [toy_record(tmp_path, "a"), toy_record(tmp_path, "b", result=toy_result(scenes=11))]
    with pytest.raises(UserError, match="scored on other scenes, blocks or labels"):
        compared(records)
    result = toy_result()
    result.counts[0] += 1
    records[1] = toy_record(tmp_path, "b", result=result)
    with pytest.raises(UserError, match="scored on other scenes, blocks or labels"):
        compared(records)
    lonely = [toy_record(tmp_path, name, result=toy_result(scenes=1, blocks=1)) for name in "cd"]
    with pytest.raises(UserError, match="a single block"):
        compared(lonely)


@pytest.mark.usefixtures("no_published_records")
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    toy_folder(runs, methods=4, seeds=2)
    words = [
        "compare",
        "--data",
        "toy",
        "--runs",
        str(runs),
        "--out",
        str(tmp_path / "out"),
        "--samples",
        "100",
    ]
    (runs / "method00" / "1" / "record" / "scenes.npz").unlink()
    damaged = runs / "method01" / "0" / "record" / "scenes.npz"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    stale = toy_result(seed=5)
    toy_record(runs, "method02", 9, stale)
    (runs / "method02" / "9" / "record" / "scenes.npz").write_bytes(
        (runs / "method03" / "0" / "record" / "scenes.npz").read_bytes()
    )
    assert main(words) == 0
    said = capsys.readouterr().out
    assert (
        "older published records have none" in said
        and "is damaged" in said
        and "does not add up" in said
    )
    table = pd.read_csv(tmp_path / "out" / "toy.csv")
    assert len(table) == 6 * 11 and table.loc[0, ["first seeds", "second seeds"]].tolist() == [1, 1]
    text = (tmp_path / "out" / "toy.md").read_text()
    assert (
        "95 % intervals over 12 scenes, paired bootstrap percentiles of 100 draws from seed 0"
        in text
    )
    assert main([*words, "--methods", "method02,method03"]) == 0
    assert len(pd.read_csv(tmp_path / "out" / "toy.method02.method03.csv")) == 11
    (runs / "method03" / "0" / "record" / "scenes.npz").unlink()
    (runs / "method03" / "1" / "record" / "scenes.npz").unlink()
    for option, value in (
        ("--methods", "method02,method03"),
        ("--samples", "10"),
        ("--level", "100"),
        ("--methods", "method00,nosuch"),
    ):
        assert main([*words, option, value]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("no_published_records")
def test_nothing_to_compare_is_one_line_and_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    toy_folder(runs, methods=4, seeds=2)
    for path in runs.rglob("scenes.npz"):
        path.unlink()
    assert main(["compare", "--runs", str(runs), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "nothing to compare" in said.err
    assert said.out.count("\n") == 1 and "8 records have none" in said.out
