"""A file of each format byte for byte, cells by brute force, and what a convention moves.

The papers' tables have golden files of their own (test_tables.py).
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, jaccard_score

from tests.support.golden_records import (
    COMMANDS,
    FILES,
    FOG,
    GOLDEN,
    METHODS,
    SCENES,
    SUBSETS,
    result,
    tables,
    write_records,
)
from tests.support.tex import check_latex, compile_latex

WRITTEN: dict[str, str] = {}
REMEDY = "look at the difference; if it is meant: python -m tests.support.golden_records"

pytestmark = pytest.mark.usefixtures("no_published_records")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("golden") / "runs"
    write_records(root)
    return root


@pytest.fixture(scope="module", autouse=True)
def written(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the table commands write, by command and file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.records.selection.PUBLISHED", runs / "none")
        for command in COMMANDS:
            for name, text in tables(command, runs, tmp_path_factory.mktemp(command)).items():
                WRITTEN[f"{command}/{name}"] = text
    return WRITTEN


@pytest.mark.parametrize("name", FILES)
def test_one_file_of_each_format_byte_for_byte(name: str, written: dict[str, str]) -> None:
    assert written[f"leaderboard/{name}"] == (GOLDEN / name).read_text(), REMEDY


def test_no_table_command_imports_what_training_needs(runs: Path, tmp_path: Path) -> None:
    lines = [
        [command, "--runs", str(runs), "--out", str(tmp_path / command)]
        for command in (*COMMANDS, "tables")
    ]
    lines.append(["audit", "--out", str(tmp_path / "audit")])
    code = f"""
import sys
from pathlib import Path
from benchmark.records import selection
from benchmark.__main__ import main
selection.PUBLISHED = Path({str(tmp_path / "none")!r})
assert not any([main(words) for words in {lines!r}])
heavy = {{"torch", "lightning", "rasterio", "timm", "wandb", "scipy", "matplotlib"}}
heavy &= set(sys.modules)
assert not heavy, heavy
"""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_latex(written: dict[str, str], tmp_path: Path) -> None:
    texts = {name.replace("/", "-"): text for name, text in written.items() if name[-4:] == ".tex"}
    for text in texts.values():
        check_latex(text)
    compile_latex(tmp_path, texts)


# ---- cells by brute force ----


def numbers_of(name: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(WRITTEN[name]), keep_default_na=False, na_values=[""])


def cell(name: str, column: str, **where: object) -> float:
    """The one number at the place."""
    table = numbers_of(name)
    for key, value in where.items():
        table = table[table[key] == value]
    (found,) = table[column]
    return float(found)


def pixels(
    method: str,
    subset: str,
    seed: int = 0,
    scenes: list[int] | None = None,
    regions: tuple[int, ...] = (0, 1),
) -> tuple[list[int], list[int]]:
    """True and predicted label of every pixel, clutter too; scenes may be named more than once."""
    counts = result(method, seed).counts
    true, predicted = [], []
    for scene, region, label, output in product(
        range(SCENES) if scenes is None else scenes, regions, range(4), range(3)
    ):
        number = int(counts[scene][SUBSETS.index(subset), 0, region, label, output])
        true += [label] * number
        predicted += [output] * number
    return true, predicted


def miou(
    method: str,
    subset: str,
    seed: int = 0,
    scenes: list[int] | None = None,
    regions: tuple[int, ...] = (0, 1),
) -> float:
    """Mean IoU in per cent over classes with a true pixel; pixels of clutter do not exist."""
    pairs = [
        pair
        for pair in zip(*pixels(method, subset, seed, scenes, regions), strict=True)
        if pair[0] != 3
    ]
    true, predicted = zip(*pairs, strict=True)
    return 100 * float(jaccard_score(true, predicted, labels=sorted(set(true)), average="macro"))


def test_leaderboard_cells() -> None:
    by_seed = [[miou("plain", subset, seed) for subset in SUBSETS] for seed in (0, 1)]
    expected = {
        "mIoU D": np.mean([seed[1] for seed in by_seed]),
        "mIoU D std": abs(by_seed[0][1] - by_seed[1][1]) / np.sqrt(2),  # of two values, ddof 1
        "Average": np.mean(by_seed),
        "Average std": abs(np.mean(by_seed[0]) - np.mean(by_seed[1])) / np.sqrt(2),
        "Top-1": np.mean([max(seed) for seed in by_seed]),
        "Last-1": np.mean([min(seed) for seed in by_seed]),
    }
    for column, value in expected.items():
        assert cell("leaderboard/toy.csv", column, method="plain") == pytest.approx(
            value, abs=6e-5
        ), column
    true, predicted = pixels("early", "R+D")
    hits = sum(a == b for a, b in zip(true, predicted, strict=True))
    assert cell("leaderboard/toy.csv", "OA all labels full", method="early") == pytest.approx(
        100 * hits / len(true), abs=6e-5
    )
    without = sum(label != 3 for label in true)
    assert cell("leaderboard/toy.csv", "OA full", method="early") == pytest.approx(
        100 * hits / without, abs=6e-5
    )


def test_condition_cells() -> None:
    """Fog is in every second scene and hides no tree: the mean is over two classes."""
    where = {"method": "steady_1", "condition": FOG}
    table = numbers_of("leaderboard/toy.conditions.csv")
    (line,) = table[(table["method"] == "steady_1") & (table["condition"] == FOG)].to_dict(
        "records"
    )
    assert line["classes"] == "2 of 3" and line["scenes R"] == SCENES // 2
    values = [miou("steady_1", subset, scenes=[0, 2, 4, 6, 8]) for subset in SUBSETS]
    assert cell("leaderboard/toy.conditions.csv", "Last-1", **where) == pytest.approx(
        min(values), abs=6e-5
    )
    assert cell("leaderboard/toy.conditions.csv", "Average", **where) == pytest.approx(
        np.mean(values), abs=6e-5
    )


def test_class_cells() -> None:
    pairs = [pair for pair in zip(*pixels("early", "D"), strict=True) if pair[0] != 3]
    true, predicted = zip(*pairs, strict=True)
    iou, f1 = (metric(true, predicted, average=None) for metric in (jaccard_score, f1_score))
    for number, name in enumerate(("ground", "building", "tree")):
        where = {"method": "early", "subset": "D", "class": name}
        assert cell("leaderboard/toy.classes.csv", "IoU", **where) == pytest.approx(
            100 * iou[number], abs=6e-5
        )
        assert cell("leaderboard/toy.classes.csv", "F1", **where) == pytest.approx(
            100 * f1[number], abs=6e-5
        )
    where = {"method": "early", "subset": "D", "class": "mean"}
    assert cell("leaderboard/toy.classes.csv", "F1", **where) == pytest.approx(
        100 * f1.mean(), abs=6e-5
    )


def test_sensor_value_cells() -> None:
    r, d, both = (miou("early", subset) for subset in SUBSETS)
    mean = {"method": "early", "class": "mIoU"}
    expected = {
        ("shapley", "R"): (r + both - d) / 2,
        ("shapley", "D"): (d + both - r) / 2,
        ("interaction", "R x D"): both - r - d,
        ("expected", "p=0.2"): (0.64 * both + 0.16 * (r + d)) / 0.96,
        ("expected, all lost counts 0", "p=0.2"): 0.64 * both + 0.16 * (r + d),
    }
    for (measure, subject), value in expected.items():
        assert cell(
            "sensor-value/toy.csv", "value", measure=measure, subject=subject, **mean
        ) == pytest.approx(value, abs=6e-5)
    assert cell(
        "sensor-value/toy.curve.csv", "expected mIoU", method="early", p=1.0
    ) == pytest.approx((r + d) / 2, abs=6e-5)
    # (1 - p) both + p (r + d) is the same for both methods
    other_r, other_d, other = (miou("steady_1", subset) for subset in SUBSETS)
    root = (both - other) / (both - other - (r + d) + (other_r + other_d))
    place = {"first": "early pvt_v2_b0", "second": "steady_1 pvt_v2_b0"}
    assert cell("sensor-value/toy.crossings.csv", "p", **place) == pytest.approx(root, abs=6e-5)


def test_convention_cells() -> None:
    where = {"method": "early", "summary": "Top-1"}
    true, predicted = pixels("early", "R+D")
    f1 = f1_score(
        *zip(*[p for p in zip(true, predicted, strict=True) if p[0] != 3], strict=True),
        average="macro",
    )
    full = miou("early", "R+D") / 100
    expected = {
        "own": 100 * full,
        "clutter out": 100 * jaccard_score(true, predicted, labels=[0, 1, 2], average="macro"),
        "eroded label": miou("early", "R+D", regions=(0,)),
        "scene mean": np.mean([miou("early", "R+D", scenes=[scene]) for scene in range(SCENES)]),
        "macro F1": 100 * f1,
        "F1 of mIoU": 200 * full / (1 + full),
    }
    for name, value in expected.items():
        assert cell("conventions/toy.csv", "value", convention=name, **where) == pytest.approx(
            value, abs=6e-5
        ), name
    means = {
        method: np.mean([miou(method, "R+D", seed) for seed in range(METHODS[method][1])])
        for method in METHODS
    }
    for place, method in enumerate(sorted(means, key=lambda name: -means[name]), start=1):
        assert (
            cell("conventions/toy.csv", "rank", convention="own", summary="Top-1", method=method)
            == place
        )


def test_interval_cells() -> None:
    """The bootstrap drawn literally: test sets of ten scenes, the same for both methods."""
    draws = np.random.default_rng(0).multinomial(SCENES, [1 / SCENES] * SCENES, 100)
    names, table = ("early", "steady_1"), {}
    for name, scene in product(names, range(SCENES)):
        pairs = zip(*pixels(name, "D", scenes=[scene]), strict=True)
        table[name, scene] = Counter(pair for pair in pairs if pair[0] != 3)

    def drawn(name: str, weights: np.ndarray) -> float:
        total = Counter({pair: 0 for pair in product(range(3), range(3))})
        for scene, weight in enumerate(weights):
            for pair, number in table[name, scene].items():
                total[pair] += int(weight) * number
        shares = []
        for label in range(3):
            true = sum(total[label, other] for other in range(3))
            union = true + sum(total[other, label] for other in range(3)) - total[label, label]
            shares += [total[label, label] / union] if true else []
        return 100 * float(np.mean(shares))

    differences = [drawn("early", weights) - drawn("steady_1", weights) for weights in draws]
    where = {"first": "early pvt_v2_b0", "second": "steady_1 pvt_v2_b0", "measure": "mIoU D"}
    whole = [miou(name, "D") for name in names]
    assert cell("compare/toy.csv", "difference", **where) == pytest.approx(
        whole[0] - whole[1], abs=6e-5
    )
    low, high = np.percentile(differences, [2.5, 97.5])
    assert cell("compare/toy.csv", "low", **where) == pytest.approx(low, abs=6e-5)
    assert cell("compare/toy.csv", "high", **where) == pytest.approx(high, abs=6e-5)


# ---- what a convention moves ----


KEYS = [
    "method",
    "condition",
    "protocol",
    "subset",
    "class",
    "measure",
    "subject",
    "p",
    "convention",
    "summary",
]


def moved(command: str, runs: Path, out: Path) -> dict[str, pd.DataFrame]:
    """Rows by CSV file that differ from the own convention's; nan in cells that do not."""

    def read(text: str) -> pd.DataFrame:
        table = pd.read_csv(io.StringIO(text), dtype=str, na_filter=False)
        return table.set_index([name for name in KEYS if name in table]).sort_index()

    changed = {}
    for name, text in tables(command, runs, out).items():
        if name.endswith(".csv"):
            ours, theirs = read(text), read(WRITTEN[f"{command}/{name}"])
            assert ours.columns.equals(theirs.columns) and ours.index.equals(theirs.index)
            changed[name] = ours.where(ours != theirs).dropna(how="all").dropna(axis=1, how="all")
    return changed


def of(table: pd.DataFrame, key: str) -> set[str]:
    return set(table.index.get_level_values(key))


def test_counting_absent_classes_as_zero_moves_the_foggy_rows_only(tmp_path: Path) -> None:
    write_records(tmp_path / "runs", absent="zero")
    changed = moved("leaderboard", tmp_path / "runs", tmp_path / "out")
    assert changed["toy.csv"].empty and changed["toy.classes.csv"].empty, (
        "over all scenes no class is absent"
    )
    foggy = changed["toy.conditions.csv"]
    assert of(foggy, "condition") == {FOG} and of(foggy, "method") == set(METHODS)
    assert {name.split()[0] for name in foggy.columns} == {
        "Average",
        "Top-1",
        "Last-1",
        "mIoU",
        "mF1",
        "classes",
    }
    for command in ("sensor-value", "compare"):
        assert all(
            table.empty for table in moved(command, tmp_path / "runs", tmp_path / command).values()
        )
    table = moved("conventions", tmp_path / "runs", tmp_path / "conventions")["toy.csv"]
    assert of(table[table["value"].notna()], "convention") == {"scene mean"}


def test_counting_clutter_as_errors_moves_scores_but_no_accuracy_over_all_labels(
    tmp_path: Path,
) -> None:
    write_records(tmp_path / "runs", ignored=())
    changed = moved("leaderboard", tmp_path / "runs", tmp_path / "out")
    board = changed["toy.csv"]
    assert of(board, "method") == set(METHODS), "the row of another protocol stays"
    kinds = {name.removesuffix(" std").split()[0] for name in board.columns}
    assert (
        kinds == {"Average", "Top-1", "Last-1", "mIoU", "mF1", "OA"}
        and "OA all labels full" not in board.columns
    )
    assert set(changed["toy.classes.csv"].columns) == {"IoU", "IoU std", "F1", "F1 std"}
    table = moved("conventions", tmp_path / "runs", tmp_path / "conventions")["toy.csv"]
    names = of(table[table["value"].notna()], "convention")
    assert "own" in names and not {"clutter dropped", "clutter out", "clutter in"} & names, (
        "these name their own rule"
    )
