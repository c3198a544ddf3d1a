"""Every committed LaTeX file inside a plain article, and what is escaped."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmark.formats.markdown_latex import latex_text, page_latex, page_markdown
from tests.support.tex import check_latex, compile_latex

RESULTS = Path(__file__).resolve().parents[3] / "results"
COMMITTED = sorted(
    path for folder in ("leaderboards", "tables") for path in (RESULTS / folder).glob("*.tex")
)
# all that TeX reads as a command or prints as something else, in a table's head, its cells and the text around it
AWKWARD = r"a_b 5 % #1 +- {x} & $ \end ^2 ~ <lr> --x=[1,2]"
TABLE = pd.DataFrame({"method": [AWKWARD, "[b]", "*c"], "5 %_": ["*", "[1]", "1"]})
PAGE = [f"# {AWKWARD}", TABLE, f"Note {AWKWARD}", "- one\n- two"]


def test_latex_text_escapes_what_tex_reads() -> None:
    assert latex_text("a_b 5 % #1 +- {x} & $") == r"a\_b 5 \% \#1 $\pm$ \{x\} \& \$"
    assert (
        latex_text("a\\b^c~d<e>f")
        == r"a\textbackslash{}b\textasciicircum{}c\textasciitilde{}d$<$e$>$f"
    )


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_files_are_latex(path: Path) -> None:
    check_latex(path.read_text())


def test_a_page_of_awkward_text_is_latex() -> None:
    text = page_latex(PAGE)
    check_latex(text)
    assert r"\textbf{a\_b 5 \%" in text and r"\noindent -- two" in text


def test_a_page_is_markdown() -> None:
    page = ["# Head", pd.DataFrame({"method": ["a"], "R": ["1.00"]}), "Note."]
    assert page_markdown(page) == "# Head\n\n| method | R |\n|---|---:|\n| a | 1.00 |\n\nNote.\n"


def test_all_of_it_compiles(tmp_path: Path) -> None:
    texts = {path.name: path.read_text() for path in COMMITTED}
    assert len(texts) == len(COMMITTED)
    compile_latex(tmp_path, {**texts, "page.tex": page_latex(PAGE)})
