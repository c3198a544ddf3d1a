"""Every committed LaTeX file inside a plain article, and what is escaped."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmark.formats.latex import escape_latex, latex_table
from benchmark.formats.markdown import markdown_page
from tests.support.tex import check_latex, compile_latex

RESULTS = Path(__file__).resolve().parents[3] / "results"
COMMITTED = sorted(
    path for folder in ("leaderboards", "tables") for path in (RESULTS / folder).glob("*.tex")
)
# all that TeX reads as a command or prints as something else
AWKWARD = r"a_b 5 % #1 +- {x} & $ \end ^2 ~ <lr> --x=[1,2]"
TABLE = pd.DataFrame({"method": [AWKWARD, "[b]", "*c"], "5 %_": ["*", "[1]", "1"]})
NOTES = [f"Note {AWKWARD}", "- one"]


def test_escape_latex_escapes_what_tex_reads() -> None:
    assert escape_latex("a_b 5 % #1 +- {x} & $") == r"a\_b 5 \% \#1 $\pm$ \{x\} \& \$"
    assert (
        escape_latex("a\\b^c~d<e>f")
        == r"a\textbackslash{}b\textasciicircum{}c\textasciitilde{}d$<$e$>$f"
    )


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_files_are_latex(path: Path) -> None:
    check_latex(path.read_text())


def test_a_table_of_awkward_text_is_latex() -> None:
    text = latex_table(TABLE, NOTES)
    check_latex(text)
    assert r"\noindent Note a\_b 5 \%" in text and r"\noindent - one" in text


def test_a_page_is_markdown() -> None:
    page = ["# Head", pd.DataFrame({"method": ["a"], "R": ["1.00"]}), "Note."]
    assert markdown_page(page) == "# Head\n\n| method | R |\n|---|---:|\n| a | 1.00 |\n\nNote.\n"


def test_all_of_it_compiles(tmp_path: Path) -> None:
    texts = {path.name: path.read_text() for path in COMMITTED}
    assert len(texts) == len(COMMITTED)
    long = pd.DataFrame({"pair": [f"a{row} - b" for row in range(100)], "R": "1.00"})
    check_latex(latex_table(long, NOTES))
    texts |= {"page.tex": latex_table(TABLE, NOTES), "long.tex": latex_table(long, NOTES)}
    compile_latex(tmp_path, texts)
