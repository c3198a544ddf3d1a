"""The papers' tables, reported beside measured, against other libraries and the papers' cells."""

from __future__ import annotations

import csv
import io
import re
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, jaccard_score

from benchmark.papers.audit.checks import Check
from benchmark.papers.audit.report import audit_papers, select_findings
from benchmark.papers.measured import MeasuredRuns
from benchmark.papers.model import PaperTable
from benchmark.papers.printed_numbers import PaperResults, read_paper_results
from benchmark.papers.render import format_csv, format_latex, format_markdown
from benchmark.papers.tables import build_tables
from benchmark.records.record import Record
from benchmark.records.selection import RecordSelection
from tests.support.published_records import fixed_record, fixed_records, fixed_runs, golden_texts
from tests.support.tex import check_latex, compile_latex
from tests.support.toy_records import PROTOCOL

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = Path(__file__).with_name("golden")
SGMA = [f"sgma_{number}" for number in ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")]
STEMS = [*SGMA, *(f"mobanet_{number}" for number in ("I", "II", "III", "IV", "V")), "gemmnet_1"]
STEMS += ["anyseg_MUSES", "liao_DELIVER", "specialists_DELIVER"]
STEMS += ["flairhub_FLAIR-HUB", "metars_EarthMiss"]


@pytest.fixture(scope="module")
def reported() -> PaperResults:
    return read_paper_results()


@pytest.fixture(scope="module")
def tables(reported: PaperResults) -> dict[str, PaperTable]:
    return {table.stem: table for table in build_tables(reported, fixed_runs())}


@pytest.fixture(scope="module")
def unmeasured(reported: PaperResults) -> dict[str, PaperTable]:
    return {table.stem: table for table in build_tables(reported, MeasuredRuns({}))}


@pytest.fixture(scope="module")
def listed(reported: PaperResults) -> list[Check]:
    return [check for check in select_findings(audit_papers(reported)) if check.kind != "rounding"]


def frame(table: PaperTable) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(format_csv(table)), dtype=str, keep_default_na=False)


def only(records: list[Record]) -> MeasuredRuns:
    by_data: dict[str, list[Record]] = {}
    for record in records:
        by_data.setdefault(record.manifest.data, []).append(record)
    return MeasuredRuns({data: RecordSelection(members) for data, members in by_data.items()})


def test_golden_files_of_one_table(tables: dict[str, PaperTable]) -> None:
    assert set(tables) == set(STEMS)
    for name, text in golden_texts().items():
        remedy = "after looking at the difference: python -m tests.support.published_records"
        assert text == (GOLDEN / name).read_text(), remedy


def test_the_notes_of_the_audit_are_optional(
    reported: PaperResults, tables: dict[str, PaperTable]
) -> None:
    plain = {table.stem: table for table in build_tables(reported, fixed_runs(), audit=False)}
    texts = {stem: format_latex(table) + format_markdown(table) for stem, table in plain.items()}
    assert not any("udit" in text or "textsuperscript" in text for text in texts.values())
    for stem, table in tables.items():
        assert set(plain[stem].notes) <= set(table.notes) and plain[stem].columns == table.columns
    assert any(table.marked for table in tables.values())


@pytest.mark.parametrize("stem", STEMS)
def test_every_printed_number_stands_in_its_row_and_column(
    stem: str, tables: dict[str, PaperTable], reported: PaperResults
) -> None:
    source, number = stem.split("_")
    read = frame(tables[stem])
    words = {"\u2717": "no", "\u2713": "yes", "\u0394": "change of"}
    seen = []
    for cell in reported.select_in_table(source, number):
        heading = "".join(words.get(character, character) for character in cell.paper_row)
        what = "reported" if cell.kind in ("score", "summary", "cost") else "reported difference"
        names = np.where(read["block"] == "", read["row"], read["block"] + " / " + read["row"])
        (row,) = read.index[(names == heading) & (read["what"] == what)]
        assert read.loc[row, cell.paper_column] == cell.value
        seen.append((row, cell.paper_column))
    printed = read[read["what"].str.startswith("reported")].drop(
        columns=["block", "row", "what", "protocol", "n"]
    )
    assert (printed.drop(columns="audit") != "-").to_numpy().sum() == len(seen) == len(set(seen))
    headings = list(
        dict.fromkeys(cell.paper_column for cell in reported.select_in_table(source, number))
    )
    assert list(read.columns[5:-1]) == headings


def pixels(record: Record, subset: str) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted ids of every scored pixel, ignored labels left out."""
    matrix = record.counts[record.subsets.index(subset), 0, 0]
    kept = [label for label in range(len(matrix)) if label not in record.convention.ignored]
    true, predicted = np.meshgrid(kept, record.convention.outputs, indexing="ij")
    counts = matrix[kept].ravel()
    return np.repeat(true.ravel(), counts), np.repeat(predicted.ravel(), counts)


@pytest.mark.parametrize(
    ("stem", "data", "config", "backbone", "block", "row"),
    [
        ("sgma_I", "potsdam", "sgma", "resnet50", "ResNet-50", "SGMA (Ours)"),
        ("sgma_IV", "dfc2023", "m3l", "pvt_v2_b2", "Pvt-v2-b2", "M3L"),
    ],
)
def test_measured_numbers_agree_with_scikit_learn(
    tables: dict[str, PaperTable],
    stem: str,
    data: str,
    config: str,
    backbone: str,
    block: str,
    row: str,
) -> None:
    keys = {"variant": config, "backbone": backbone}
    records = [
        r for r in fixed_records()[data] if keys == {k: getattr(r.manifest, k) for k in keys}
    ]
    metric = jaccard_score if stem == "sgma_I" else f1_score
    scores = {
        subset: [
            100
            * metric(*pixels(record, subset), labels=record.convention.averaged, average="macro")
            for record in records
        ]
        for subset in records[0].subsets
    }
    read = frame(tables[stem])
    own = read[(read["block"] == block) & (read["row"] == row)].set_index("what")
    assert (
        set(own["n"]) <= {"", str(len(records))} and own.loc["measured", "protocol"] == "sgma, last"
    )
    for subset, values in scores.items():
        measured, difference = (float(own.loc[what, subset]) for what in ("measured", "difference"))
        assert measured == pytest.approx(statistics.mean(values), abs=1e-4)
        assert difference == pytest.approx(measured - float(own.loc["reported", subset]), abs=2e-4)
        if len(values) > 1:
            assert float(own.loc["std", subset]) == pytest.approx(
                statistics.stdev(values), abs=1e-4
            )
    seeds = np.array(list(scores.values()))
    for name, values in {
        "Average": seeds.mean(0),
        "Top-1": seeds.max(0),
        "Last-1": seeds.min(0),
    }.items():
        assert float(own.loc["measured", name]) == pytest.approx(values.mean(), abs=1e-4), (
            "per seed first"
        )


def test_overall_accuracy_and_classes_of_a_row(tables: dict[str, PaperTable]) -> None:
    """MoBaNet on Potsdam: OA over six classes, F1 of each class, from the counts by hand."""
    (record,) = (
        r
        for r in fixed_records()["potsdam"]
        if r.manifest.identity.startswith("potsdam-mobanet-vit_base")
    )
    matrix = record.counts[record.subsets.index("R+D"), 0, 0].astype(float)
    read = frame(tables["mobanet_II"])
    own = read[(read["row"] == "MoBaNet (DINOv2) / ViT-B") & (read["what"] == "measured")].iloc[0]
    assert float(own["OA"]) == pytest.approx(100 * np.trace(matrix) / matrix.sum(), abs=1e-4)
    f1 = 200 * np.diag(matrix) / (matrix.sum(0) + matrix.sum(1))
    assert [float(own[name]) for name in ("Imp.", "Bui.", "Low.", "Tre.", "Car")] == pytest.approx(
        f1[:5], abs=1e-4
    )
    assert float(own["mF1 (%)"]) == pytest.approx(f1[:5].mean(), abs=1e-4)


def test_what_was_not_measured_is_a_dash(
    tables: dict[str, PaperTable], unmeasured: dict[str, PaperTable]
) -> None:
    for table in unmeasured.values():
        read = frame(table)
        own = read[~read["what"].str.startswith("reported")].drop(
            columns=["block", "row", "what", "audit"]
        )
        assert (own == "-").all().all()
        assert "Nothing of this table was measured" in format_markdown(table)
        assert "measured (" not in format_latex(table)
    # the runs of MoBaNet have no M3L, and costs are in no record
    read = frame(tables["mobanet_IV"])
    assert set(read.loc[read["what"] == "measured", "Params (M)"]) == {"-"}
    reported_only = read[read["row"] == "Base + CPIA"]
    assert reported_only["what"].tolist() == ["reported", "measured", "difference"]


@pytest.mark.parametrize("stem", ["sgma_I", "sgma_VI", "sgma_IX", "mobanet_II", "gemmnet_1"])
def test_best_is_bold_and_second_underlined_in_every_column(
    stem: str, unmeasured: dict[str, PaperTable]
) -> None:
    read = frame(unmeasured[stem])
    lines = [
        line.removesuffix(r" \\")
        for line in format_latex(unmeasured[stem]).splitlines()
        if line.endswith(r" \\")
    ]
    texts, heading, named = {}, "", (read["block"] != "").any()
    for cells in (line.split(" & ") for line in lines):
        heading = (cells[0] or heading) if named else ""
        name, *values = cells[1:] if named else cells
        texts[heading, name.replace(r"\_", "_")] = values
    for block, rows in read[read["what"] == "reported"].groupby("block", sort=False):
        for number, column in enumerate(read.columns[5:-1]):
            values = pd.to_numeric(rows.set_index("row")[column].replace("-", np.nan)).dropna()
            ordered = sorted(set(values), reverse=stem != "sgma_IX")
            for name, value in values.items():
                text = texts[block, name][number]
                assert text.startswith(r"\textbf{") == (value == ordered[0]), (block, column, text)
                assert text.startswith(r"\underline{") == (value == ordered[1]), (
                    block,
                    column,
                    text,
                )


def test_costs_are_best_when_small_and_rates_when_large(unmeasured: dict[str, PaperTable]) -> None:
    text = format_latex(unmeasured["mobanet_III"])
    assert (
        r"\textbf{3.55} & \textbf{281.61}" in text
        and r"\textbf{186.92}" in text
        and r"\textbf{6.18}" in text
    )
    assert r"\textbf" not in format_latex(unmeasured["mobanet_V"]), (
        "its rows are inputs of one method, not rivals"
    )


@pytest.mark.parametrize("stem", STEMS)
def test_every_cell_that_the_audit_names_has_a_footnote(
    stem: str, unmeasured: dict[str, PaperTable], listed: list[Check]
) -> None:
    table = unmeasured[stem]
    own = [check for check in listed if f"{check.paper}_{check.table}" == stem]
    read = frame(table)
    marks = {}
    for rule in dict.fromkeys(check.rule for check in own if check.number):
        marks[rule] = "abcdef"[len(marks)]
    expected = set()
    for check in own:
        if check.number:
            expected.add((check.number.paper_column, check.printed.lstrip("+"), marks[check.rule]))
    found = set()
    for _, row in read[read["audit"] != ""].iterrows():
        for entry in row["audit"].split("; "):
            column, _, letters = entry.rpartition(": ")
            found |= {
                (column, row[column].replace("-", "", int(row["what"] != "reported")), mark)
                for mark in letters
            }
    assert found == expected
    for text in (format_markdown(table), format_latex(table)):
        assert text.isascii()
        for mark in marks.values():
            assert (
                len(re.findall(rf"(?:<sup>|textsuperscript{{)\w*{mark}\w*(?:</sup>|}})", text)) >= 2
            )
        sentences = [check for check in own if check.number is None]
        assert text.count("Audit, ") == len(sentences)


def test_latex_compiles_inside_a_plain_article(
    tables: dict[str, PaperTable], tmp_path: Path
) -> None:
    texts = {f"{stem}.tex": format_latex(table) for stem, table in tables.items()}
    for text in texts.values():
        check_latex(text)
    compile_latex(tmp_path, texts)


def test_another_convention_changes_the_measured_lines_and_nothing_else(
    reported: PaperResults,
) -> None:
    def built(absent: str) -> list[list[str]]:
        record = fixed_record("potsdam", "RDN", "sgma", "pvt_v2_b2", "sgma", 0)
        counts = record.counts.copy()
        counts[:, :, :, 4] = 0  # no true car pixel
        convention = replace(record.convention, absent=absent)
        manifest = record.manifest.model_copy(update={"convention": convention})
        record = replace(record, manifest=manifest, counts=counts)
        (table,) = (
            table for table in build_tables(reported, only([record])) if table.stem == "sgma_I"
        )
        return list(csv.reader(io.StringIO(format_csv(table))))

    pairs = zip(built("exclude"), built("zero"), strict=True)
    changed = [(a[1:3], [x != y for x, y in zip(a, b, strict=True)]) for a, b in pairs]
    moved = [entry for entry in changed if any(entry[1])]
    assert [name for name, _ in moved] == [
        ["SGMA (Ours)", "measured"],
        ["SGMA (Ours)", "difference"],
    ]
    assert all(flags[5:15] == [True] * 10 and not any(flags[:5]) for _, flags in moved)


def test_runs_that_differ_in_more_than_the_seed_are_never_mixed(reported: PaperResults) -> None:
    first = fixed_record("potsdam", "RDN", "sgma", "pvt_v2_b2", "sgma", 0)
    protocol = PROTOCOL.model_copy(update={"split_note": "ground is shared"})
    other = fixed_record("potsdam", "RDN", "sgma", "pvt_v2_b2", "sgma", 2)
    records = [
        first,
        fixed_record("potsdam", "RDN", "sgma", "pvt_v2_b2", "sgma", 1, group="another-recipe"),
        replace(
            other,
            manifest=other.manifest.model_copy(update={"group": "standard", "protocol": protocol}),
        ),
        fixed_record("potsdam", "RDN", "sgma", "pvt_v2_b0", "sgma", 0),
        fixed_record("potsdam", "RDN", "sgma_additive", "pvt_v2_b2", "sgma", 0),
        fixed_record("dfc2023", "RDS", "sgma", "pvt_v2_b2", "sgma", 0),
    ]
    (table,) = (table for table in build_tables(reported, only(records)) if table.stem == "sgma_I")
    read = frame(table)
    own = read[(read["what"] == "measured") & (read["protocol"] != "-")]
    assert (
        set(own["row"]) == {"SGMA (Ours)"}
        and set(own["block"]) == {"Pvt-v2-b2"}
        and set(own["n"]) == {"1"}
    )
    assert own["protocol"].tolist() == [
        "sgma, last, potsdam-",
        "sgma, last, another-",
        "standard*, best",
    ]
    assert "* standard: ground is shared" in format_markdown(table)


def measured_row(reported: PaperResults, letters: str) -> pd.Series:
    """What is measured of SGMA in Table I by one run on these sensors."""
    runs = only([fixed_record("potsdam", letters, "sgma", "pvt_v2_b2", "sgma", 0)])
    (table,) = (table for table in build_tables(reported, runs) if table.stem == "sgma_I")
    rows = frame(table).query("row == 'SGMA (Ours)' and block == 'Pvt-v2-b2'")
    return rows.set_index("what").loc["measured"]


def test_a_record_of_other_sensors_has_no_comparable_summary(reported: PaperResults) -> None:
    """Heights and RGB alone: their subsets are comparable, the Average over three is not."""
    own = measured_row(reported, "RD")
    assert not any(own[name] == "-" for name in ("R", "D", "R+D"))
    assert all(own[name] == "-" for name in ("N", "R+D+N", "Average"))


def test_the_order_of_letters_does_not_matter(reported: PaperResults) -> None:
    """A store that lists heights last calls the subset R+N+D."""
    own = measured_row(reported, "RND")
    columns = ["R", "D", "N", "R+D", "R+N", "D+N", "R+D+N", "Average", "Top-1", "Last-1"]
    assert "-" not in own[columns].tolist()


def test_the_command_writes_the_committed_tables_without_torch(tmp_path: Path) -> None:
    words = ["tables", "--runs", str(tmp_path), "--out", str(tmp_path / "tables")]
    code = (
        f"import sys; from benchmark.__main__ import main; assert main({words!r}) == 0; "
        "assert not {'torch', 'lightning', 'timm', 'rasterio'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Tables: 20 in" in done.stdout
    committed = {path.name: path.read_text() for path in (ROOT / "results" / "tables").iterdir()}
    written = {path.name: path.read_text() for path in (tmp_path / "tables").iterdir()}
    assert len(committed) == 60 and written == committed, "write them again: make tables"
    assert "1.908352" in written["mobanet_IV.csv"] and "4.793364" in written["sgma_IX.csv"]
