"""What a TeX engine says of a file of ours: the engine where there is one, else a parser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

COMMANDS = r"begin|end|toprule|midrule|bottomrule|multicolumn|textbf|underline|textsuperscript"
COMMANDS += r"|quad|noindent|resizebox|ifdim|width|linewidth|else|fi|ifdefined|imssnonotes"
COMMANDS += r"|smallskip|medskip|begingroup|endgroup|footnotesize|setlength|tabcolsep|usepackage|pm"
COMMANDS += r"|textbackslash|textasciicircum|textasciitilde"
ENGINES = ("pdflatex", "lualatex", "xelatex", "tectonic")


def check_latex(text: str) -> None:
    """Check braces, dollars, escapes, commands, and the number of cells in every row."""
    assert text.isascii()
    body = re.sub(r"(?<!\\)%.*", "", text)
    bare = re.sub(r"\\[\\&%$#_{}]", "", body)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert not set("#^~_") & set(bare)
    assert set(re.findall(r"\\([a-zA-Z]+)", bare)) <= set(COMMANDS.split("|"))
    tables = re.findall(r"\\begin{tabular}{(\w+)}\n(.*?)\\end{tabular}", body, re.S)
    assert len(tables) == body.count(r"\begin{tabular}") > 0
    for spec, inside in tables:
        for row in (row for row in inside.split("\\\\\n") if "&" in row):
            cells = re.split(r"(?<!\\)&", row)
            spans = [re.findall(r"multicolumn{(\d+)}", cell) for cell in cells]
            assert sum(int(span[0]) if span else 1 for span in spans) == len(spec), row
    assert bare.count(r"\begingroup") == bare.count(r"\endgroup") == 1
    outside = re.sub(r"\\begin{tabular}.*?\\end{tabular}", "", body, flags=re.S)
    assert "&" not in outside.replace(r"\&", "")


def compile_latex(directory: Path, texts: Mapping[str, str]) -> None:
    """Compile {file name: text} inside one article; skips the test where there is no engine."""
    engine = next(filter(None, map(shutil.which, ENGINES)), None)
    if engine is None:
        pytest.skip("no TeX engine")
    for name, text in texts.items():
        (directory / name).write_text(text)
    inputs = "\n".join(rf"\input{{{name}}}\clearpage" for name in texts)
    head = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
    (directory / "article.tex").write_text(f"{head}{inputs}\n\\end{{document}}\n")
    options = (
        []
        if "tectonic" in engine
        else ["-interaction=nonstopmode", "-halt-on-error", "-file-line-error"]
    )
    done = subprocess.run(
        [engine, *options, "article.tex"], cwd=directory, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (directory / "article.pdf").stat().st_size > 1000
    # a table that leaves the page; notes may hold words too long for a line
    assert "Overfull \\vbox" not in done.stdout, done.stdout[-2000:]
    wide = re.findall(r"Overfull .hbox \((\d+)[.\d]*pt too wide\) detected", done.stdout)
    assert not wide, done.stdout[-2000:]
