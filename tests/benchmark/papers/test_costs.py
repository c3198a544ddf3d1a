"""Costs beside the printed ones: the committed counts against the dossiers, and in tables."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from benchmark import choices
from benchmark.papers.costs import COSTS_FILE, PublishedCost, read_published_costs
from benchmark.papers.measured import MeasuredRuns
from benchmark.papers.model import PaperTable
from benchmark.papers.printed_numbers import read_paper_results
from benchmark.papers.render import format_csv, format_latex, format_markdown
from benchmark.papers.tables import build_tables
from benchmark.profiling.dataset_spec import input_spec
from benchmark.profiling.paper_costs import PARTS
from usererror import UserError

ROOT = Path(__file__).resolve().parents[3]
COMPLEXITY = ROOT / "results" / "complexity"
FUSION, WITH_HEAD = PARTS


def tables(costs: list[PublishedCost]) -> dict[str, PaperTable]:
    return {
        table.stem: table for table in build_tables(read_paper_results(), MeasuredRuns({}), costs)
    }


def frame(table: PaperTable) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(format_csv(table)), dtype=str, keep_default_na=False)


def test_committed_counts_are_those_of_the_dossiers() -> None:
    found = {
        (line.source, line.table, line.method, line.variant, line.counted): line
        for line in read_published_costs()
    }
    sgma = {
        (method, counted): int(line.parameters)
        for (source, _, method, _, counted), line in found.items()
        if source == "sgma"
    }
    # IMLT per scale: two attentions of 4 C^2 and two feed-forwards of 3 C^2, their six gains, the
    # token grid of 16 x 16 and three vectors of the modalities
    imlt = sum(14 * c * c + (6 + 16 * 16 + 3) * c for c in (64, 128, 320, 512))
    # dossiers of SGMA 12, M3L 5.8, MuSS 4.7; MAGIC 4.7 less what only training reads
    fusions = {
        "sgma": 4_793_364,
        "m3l": 1_024 + 6_144,
        "imlt": imlt,
        "muss": 1_543_000,
        "magic": 405 - 50,
    }
    for method, expected in fusions.items():
        assert sgma[method, FUSION] == pytest.approx(
            expected, abs=500 if expected % 1000 == 0 else 0
        ), method
        assert sgma[method, WITH_HEAD] - sgma[method, FUSION] == 527_109
    gmac = {counted: float(found["sgma", "IX", "sgma", "full", counted].GMAC) for counted in PARTS}
    pixels, widths = (128**2, 64**2, 32**2, 16**2), (64, 128, 320, 512)
    elementwise = sum(9 * c * n for c, n in zip(widths, pixels, strict=True))
    # each sensor's kernels of 3, 7 and 11 px are one of 11 in evaluation: 9 + 49 products fewer
    merged = sum(3 * (9 + 49) * c * n for c, n in zip(widths, pixels, strict=True))
    assert gmac[FUSION] == pytest.approx((6_713_925_632 - elementwise - merged) / 1e9, abs=1e-6)
    head = sum(256 * c * n for c, n in zip(widths, pixels, strict=True)) + 256 * 5 * pixels[0]
    assert gmac[WITH_HEAD] - gmac[FUSION] == pytest.approx(head / 1e9, abs=2e-6)
    # MoBaNet dossier, section 4
    rows = {
        "base": 1_908_352,
        "base+cpia": 3_990_400,
        "base+cpia+dgfm": 4_995_712,
        "full": 6_179_456,
    }
    assert {
        key[3]: int(line.parameters) for key, line in found.items() if key[:2] == ("mobanet", "IV")
    } == rows
    # dossier of the comparison networks, section 0.1
    compared = {
        "abcnet": 13_666_563,
        "dc_swin": 118_392_690,
        "unetformer": 11_724_894,
        "cmgfnet": 43_684_566,
        "manet": 20_424_678,
        "ftransunet": 203_403_558,
        "mobanet": 6_179_456,
    }
    assert {
        key[2]: int(line.parameters) for key, line in found.items() if key[:2] == ("mobanet", "III")
    } == compared


def test_committed_table_has_sensible_rows() -> None:
    table = pd.read_csv(COMPLEXITY / "potsdam.csv")
    assert {name.split()[0] for name in table["method"]} <= set(choices.methods())
    assert (table["inference"] <= table["parameters"]).all() and (
        table["trainable"] <= table["parameters"]
    ).all()
    subsets = ["GMAC R", "GMAC D", "GMAC N", "GMAC R+D", "GMAC R+N", "GMAC D+N", "GMAC R+D+N"]
    assert (table["GMAC all"] >= table["GMAC R+D+N"]).all()
    # equal where subsets share nothing, but for the six digits of the file
    assert (table[subsets].sum(axis=1) >= table["GMAC all"] - 1e-5).all()
    rows = table.set_index(table["method"].str.split().str[0])
    assert rows.loc["sgma", "parameters"] == 30_170_329  # SGMA dossier, section 12
    assert rows.loc["control", "GMAC R"] == pytest.approx(24.182260 + 0.54, abs=0.01)


def test_tables_show_counts_beside_the_printed_ones() -> None:
    costs = [
        PublishedCost("mobanet", "IV", "mobanet", "base", "ours", "1908352", ""),
        PublishedCost("mobanet", "IV", "mobanet", "full", "ours", "6179456", ""),
        PublishedCost("sgma", "IX", "sgma", "full", "part", "4793364", "6.695641"),
        PublishedCost("sgma", "IX", "m3l", "-", "part", "7168", "0.000000"),
    ]
    shown = tables(costs)
    read = frame(shown["mobanet_IV"]).set_index(["row", "what"])
    assert read.loc[("Base", "measured"), "Params (M)"] == "1.908352"
    assert read.loc[("Base", "difference"), "Params (M)"] == "-0.001648"
    assert (
        read.loc[("Base", "measured"), "n"] == "-"
        and read.loc[("Base + CPIA", "measured"), "Params (M)"] == "-"
    )
    complexity = shown["sgma_IX"]
    text = format_markdown(complexity)
    assert "Nothing of this table was measured" not in text and "agrees with the fusion" in text
    assert r"\quad measured (part) & \textbf{0.00} & \textbf{0.01} & - \\" in format_latex(
        complexity
    ), "small is good"
    assert "Nothing of this table was measured" in format_markdown(shown["mobanet_III"])


def test_damaged_counts_are_named(tmp_path: Path) -> None:
    assert read_published_costs(tmp_path) == []
    (tmp_path / COSTS_FILE).write_text("source,table\nsgma,IX\n")
    with pytest.raises(UserError, match="lacks the column"):
        read_published_costs(tmp_path)


@pytest.mark.parametrize(
    ("data", "clutter", "expected"),
    [
        ("potsdam", "ignore", ({"rgb": 3, "dsm": 1, "nir": 1}, "RDN", 5)),
        ("potsdam", "class", ({"rgb": 3, "dsm": 1, "nir": 1}, "RDN", 6)),
        ("vaihingen", "ignore", ({"irrg": 3, "dsm": 1}, "ID", 5)),
        ("dfc2023_miniature", "ignore", ({"rgb": 3, "dsm": 1, "sar": 1}, "RDS", 2)),
        ("deliver", "ignore", ({"rgb": 3, "depth": 3, "event": 3, "lidar": 3}, "RDEL", 25)),
    ],
)
def test_named_data_is_known_without_a_store(
    data: str, clutter: str, expected: tuple[dict[str, int], str, int], tmp_path: Path
) -> None:
    channels, letters, outputs = expected
    section = {"modalities": list(channels), "clutter": clutter, "window": 96, "rasters": None}
    given = input_spec(data, section, tmp_path)
    assert (given.channels, "".join(given.letters.values()), given.num_classes, given.side) == (
        channels,
        letters,
        outputs,
        96,
    )
    assert input_spec(
        "potsdam", {**section, "modalities": ["dsm"], "rasters": {"dsm": "ndsm"}}, tmp_path
    ).channels == {"dsm": 1}
    with pytest.raises(UserError, match="needs the raster 'sonar'"):
        input_spec(data, {**section, "modalities": ["sonar"]}, tmp_path)
    with pytest.raises(UserError, match="mytown"):
        input_spec("mytown", section, tmp_path)
