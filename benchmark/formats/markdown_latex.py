"""Tables of texts, and pages of them, as Markdown and as LaTeX.

A page is a sequence of parts. A part is a table (a frame whose cells are texts) or plain Markdown: a heading, a
paragraph, or a list.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

TEXT_COLUMNS = (
    "method",
    "backbone",
    "condition",
    "protocol",
    "class",
    "first",
    "second",
    "measure",
    "verdict",
)
ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "+-": r"$\pm$",
}
ESCAPES |= {character: rf"\{character}" for character in "&%$#_{}"} | {"<": r"$<$", ">": r"$>$"}
Part = pd.DataFrame | str


def cells(display: pd.DataFrame) -> list[list[str]]:
    """The texts of a table by row, without its head; pandas' own iteration takes ten times as long."""
    return [[str(value) for value in row] for row in display.to_numpy(object)]


def markdown(display: pd.DataFrame) -> str:
    """A GitHub table, columns of text left and numbers right aligned."""
    head = "| " + " | ".join(display.columns) + " |"
    rule = "|" + "|".join("---" if name in TEXT_COLUMNS else "---:" for name in display) + "|"
    return "\n".join([head, rule, *("| " + " | ".join(row) + " |" for row in cells(display))])


def page_markdown(parts: Sequence[Part]) -> str:
    """The parts with a blank line between them."""
    return "\n\n".join(part if isinstance(part, str) else markdown(part) for part in parts) + "\n"


def latex(display: pd.DataFrame, note: str) -> str:
    """A table with a note below it, see `page_latex`."""
    return page_latex([display, note])


def page_latex(parts: Sequence[Part]) -> str:
    """The parts as they stand inside a plain article with `\\usepackage{booktabs}`, in small type."""
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}",
    ]
    for part in parts:
        lines += (
            _paragraphs(part) if isinstance(part, str) else [*_tabular(part), "", r"\smallskip"]
        )
    return "\n".join([*lines, r"\endgroup", ""])


def _tabular(display: pd.DataFrame) -> list[str]:
    aligned = "".join("l" if name in TEXT_COLUMNS else "r" for name in display)
    head, *body = (
        _row([latex_text(text) for text in row]) for row in [list(display.columns), *cells(display)]
    )
    begin = rf"\noindent\begin{{tabular}}{{{aligned}}}"
    return [begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]


def _row(cells: list[str]) -> str:
    # a star or bracket at the start would be read as an argument of the line break before it
    return ("{}" if cells[0].startswith(("*", "[")) else "") + " & ".join(cells) + r" \\"


def _paragraphs(text: str) -> list[str]:
    """Every line of plain Markdown as a paragraph of its own: headings in bold, items of a list with a dash."""
    result = []
    for line in filter(None, text.splitlines()):
        mark, _, rest = line.partition(" ")
        if mark and set(mark) == {"#"}:
            result += [rf"\medskip\noindent\textbf{{{latex_text(rest)}}}", "", r"\smallskip"]
        else:
            result += [
                r"\noindent " + (f"-- {latex_text(rest)}" if mark == "-" else latex_text(line)),
                "",
            ]
    return result


def latex_text(text: str) -> str:
    """Plain text with everything escaped that LaTeX would read as a command."""
    result, position = [], 0
    while position < len(text):
        step = 2 if text.startswith("+-", position) else 1
        piece = text[position : position + step]
        result.append(ESCAPES.get(piece, piece))
        position += step
    return "".join(result)
