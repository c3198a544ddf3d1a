"""Names that mean something to a format are shown as they are, in every format."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from benchmark.formats.files import csv_text
from benchmark.formats.latex import latex_table
from benchmark.formats.markdown import escape_markdown, markdown_table, print_table
from benchmark.leaderboard.per_class import class_frame, format_classes, score_classes
from benchmark.leaderboard.score_rows import leaderboard_rows
from benchmark.leaderboard.write import write_leaderboard
from benchmark.records.groups import seed_groups
from tests.support.tex import compile_latex
from tests.support.toy_records import LABELS, toy_record, toy_result

NAMES = [
    "Roads & paths | 50 %_",
    "Dach </script><b>x</b>",
    "\u5efa\u7269 $x^2$",
    "[rgb,dsm]",
    "[/x]",
    "`code` *em* _em_ low_veg",
    "~~gone~~ ^ # {x} \\ &lt; &amp;",
    "![](http://a.b/c.png) <img src=x>",
    "==A1 -- --x",
    "NA",
    "+-",
]


def html_cells(markdown: str) -> list[list[str]]:
    """Read a table as another library shows it; a tag inside a cell is none of its text."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            kinds = {child.type for child in token.children or []}
            assert kinds <= {"text", "text_special"}, (token.content, kinds)
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


def test_markdown_cells_and_headings() -> None:
    table = pd.DataFrame({name: [name, "1.00"] for name in NAMES})
    assert html_cells(markdown_table(table)) == [NAMES, NAMES, ["1.00"] * len(NAMES)]


def test_markdown_paragraphs() -> None:
    for name in NAMES:
        (inline,) = [
            token for token in MarkdownIt("commonmark").parse(f"Left out: {escape_markdown(name)}")
            if token.type == "inline"
        ]  # fmt: skip
        text = "".join(child.content for child in inline.children or [])
        assert text == f"Left out: {name}"


def test_what_published_tables_hold_is_written_as_it_is() -> None:
    for text in ("standard*, best", "sgma_sgf_only", "57.05 +- 1.20", "R+D+N", "-", "50 %"):
        assert escape_markdown(text) == text


def test_csv_keeps_names_and_starts_no_formula() -> None:
    cells = [*NAMES, "-1+cmd|'/C calc'!A0", "@x", "\t=1", "-0.5", "+1.5", "-", "a\nb"]
    rows = list(csv.reader(io.StringIO(csv_text(pd.DataFrame({"name": cells, "=x": 1.5})))))
    assert rows[0] == ["name", "'=x"]
    for cell, (text, number) in zip(cells, rows[1:], strict=True):
        assert number == "1.5000"
        dangerous = text[0] in "=+-@\t\r" and not re.fullmatch(r"[-+]?[\d.]+|-", text)
        assert not dangerous
        assert text.removeprefix("'").replace("\\t", "\t") == cell


def test_latex_compiles_and_shows_the_names(tmp_path: Path) -> None:
    latin = [name for name in NAMES if name.isascii()]
    table = pd.DataFrame({"method": latin, "[x]": ["1.00"] * len(latin)})
    page = latex_table(table, latin)
    assert page.count("&") - page.count(r"\&") == len(latin) + 1
    assert "--" not in page and "|" not in page and "`" not in page
    assert "LuaLaTeX" not in page and "LuaLaTeX" in latex_table(table, NAMES)
    compile_latex(tmp_path, {"page.tex": page})


def test_terminal_shows_brackets_and_obeys_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    names = [*NAMES, "roof\x1b[2J\x07", "\u202eevil"]
    print_table("[red]d[/red]", pd.DataFrame({"[bold]": names, "R": "1.0"}))
    shown = capsys.readouterr().out
    assert "[red]d[/red]" in shown and "[bold]" in shown and "\x1b[2J" not in shown
    assert all(name in shown for name in NAMES)
    assert r"roof\x1b[2J\x07" in shown and r"\u202eevil" in shown


def test_classes_named_like_columns_keep_both(tmp_path: Path) -> None:
    labels = ("mean", "n", "method", "clutter")
    result = toy_result()
    result = type(result)(**{**vars(result), "labels": labels})
    plain = seed_groups([toy_record(tmp_path / "plain", "sgma", result=toy_result())])
    named = seed_groups([toy_record(tmp_path / "named", "sgma", result=result, classes=labels)])
    rows = [score_classes(groups) for groups in (plain, named)]
    tables = [format_classes(row, 0, -1) for row in rows]
    assert tables[0].shape == tables[1].shape
    assert tables[0].to_numpy().tolist() == tables[1].to_numpy().tolist()
    assert class_frame(rows[1])["class"].nunique() == len(LABELS)


def test_a_leaderboard_of_such_names_has_every_score_in_its_column(tmp_path: Path) -> None:
    labels = (NAMES[0], NAMES[1], NAMES[2], "clutter")
    result = toy_result()
    conditions = {scene: ["region=a|b"] for scene in result.scenes}
    changed = {**vars(result), "labels": labels, "conditions": conditions}
    record = toy_record(tmp_path, "sgma", result=type(result)(**changed), classes=labels)
    rows = leaderboard_rows(seed_groups([record]))
    write_leaderboard("toy", rows, ["<b>run|1</b>: damaged"], tmp_path)
    for name in ("toy.conditions.md", "toy.classes.md", "toy.md"):
        text = (tmp_path / name).read_text()
        for block in text.split("\n\n"):
            if block.startswith("|"):
                cells = html_cells(block)
                assert len({len(row) for row in cells}) == 1, block
        assert "<b>" not in text
    head, *_ = html_cells((tmp_path / "toy.classes.md").read_text().split("\n\n")[4])
    assert head == ["method", "mean", *labels[:3], "n"]
