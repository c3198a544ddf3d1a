"""A table of texts and its notes as LaTeX."""

from collections.abc import Sequence

import pandas as pd

from benchmark.formats.markdown import column_alignment
from datamodules.store.names import printable

WORDS = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
# signs that some fonts show as others
WORDS |= {"|": r"\textbar{}", "`": r"\textasciigrave{}", "\n": " "}
SIGNS = {"<": r"$<$", ">": r"$>$"} | {sign: rf"\{sign}" for sign in "&%$#_{}"}
MOST_ROWS = 45
LATIN = 0x24F  # the last letter that pdfLaTeX has in its usual fonts
OTHER_LETTERS = (
    r"% has letters that pdfLaTeX lacks: compile with LuaLaTeX or XeLaTeX, and a font of them"
)
ESCAPES = str.maketrans(WORDS | SIGNS)


def escape_latex(text: object) -> str:
    r"""Escape plain text that LaTeX would read as commands.

    Example:
        >>> escape_latex("low_veg 5 % +- 1")
        'low\\_veg 5 \\% $\\pm$ 1'
    """
    escaped = printable(text).translate(ESCAPES).replace("+-", r"$\pm$")
    # two hyphens would become a dash
    return escaped.replace("--", "-{}-")


def latex_table(table: pd.DataFrame, notes: Sequence[str], best: pd.DataFrame | None = None) -> str:
    r"""Write a frame as a booktabs tabular with notes below, to be read inside an article.

    `best` tells of every cell whether it is set in bold.
    """
    escaped = table.map(escape_latex)
    if best is not None:
        escaped = escaped.mask(best, r"\textbf{" + escaped + "}")
    escaped = escaped.rename(columns=escape_latex)
    # a star or bracket there would be read as an argument of the line break before it
    escaped.isetitem(0, escaped.iloc[:, 0].str.replace(r"^(?=[*\[])", "{}", regex=True).tolist())
    return latex_page(escaped, column_alignment(table), list(map(escape_latex, notes)))


def latex_page(cells: pd.DataFrame, alignment: str, notes: Sequence[str]) -> str:
    """Write cells and notes that are LaTeX already; pairs of headings span what they share."""
    parts = [
        r"% needs \usepackage{booktabs,graphicx}; no notes: \def\imssnonotes{}",
        r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}\noindent",
    ]
    # no table is higher than a page
    for start in range(0, max(1, len(cells)), MOST_ROWS):
        style = cells.iloc[start : start + MOST_ROWS].style.hide(axis="index")
        tabular = style.to_latex(hrules=True, column_format=alignment, multicol_align="c")
        if start:
            parts += ["", r"\medskip\noindent"]
        # shrunk where it is wider than the lines of the page
        parts.append(r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%")
        parts.append(tabular.rstrip("\n") + "}")
    parts += ["", r"\ifdefined\imssnonotes\else\smallskip"]
    for note in notes:
        parts += [rf"\noindent {note}", ""]
    page = "\n".join([*parts, r"\fi", r"\endgroup", ""])
    return page if ord(max(page)) <= LATIN else f"{OTHER_LETTERS}\n{page}"
