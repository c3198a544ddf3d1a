"""Records that may not enter a table: every command names them, and no number changes."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.__main__ import main
from benchmark.records.manifest import MANIFEST
from benchmark.records.record import SCENES, SUMMARY
from tests.support.tex import check_latex
from tests.support.toy_records import CONVENTION, PROTOCOL, toy_record, toy_result

COMMANDS = {
    "leaderboard": ["--data", "potsdam"],
    "sensor-value": ["--data", "potsdam"],
    "conventions": ["--data", "potsdam"],
    "compare": ["--data", "potsdam", "--samples", "100"],
    "tables": [],
}


def good(runs: Path) -> None:
    """Two methods, two seeds each, of a dataset and subsets that a published table has."""
    for number, variant in enumerate(("sgma", "m3l")):
        for seed in range(2):
            result = toy_result(0.5 + 0.2 * number, 10 * number + seed, scenes=10, blocks=1)
            toy_record(runs, variant, seed, result, data="potsdam", backbone="pvt_v2_b2")


def add(runs: Path, name: str, **changes: object) -> Path:
    """A record of other numbers beside the good ones."""
    result = toy_result(0.9, 77, scenes=10, blocks=1)
    settings = {"data": "potsdam", "backbone": "pvt_v2_b2", "created": "2025-01-01", **changes}
    return toy_record(runs, name, 0, result, **settings).path


def edit(path: Path, change: Callable[[dict], None]) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    change(manifest)
    (path / MANIFEST).write_text(json.dumps(manifest))


def rewrite(path: Path, **changes: np.ndarray) -> None:
    with np.load(path / SUMMARY) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path / SUMMARY, **{**arrays, **changes})


def promise(path: Path) -> None:
    """Let the header of the counts promise more than any memory holds."""
    header = {"descr": "<i8", "fortran_order": False, "shape": (10**14,)}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    replace_counts(path, stream.getvalue() + b"0" * 64)


def replace_counts(path: Path, raw: bytes) -> None:
    """Let other bytes stand where the array of the counts does."""
    with zipfile.ZipFile(path / SUMMARY) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path / SUMMARY, "w") as archive:
        for name, content in {**members, "counts.npy": raw}.items():
            archive.writestr(name, content)


def spoil(runs: Path) -> list[str]:
    """Add a record of every kind that enters no table; return what is to be said of each."""
    cut = add(runs, "cut")
    (cut / SUMMARY).write_bytes((cut / SUMMARY).read_bytes()[:300])
    (add(runs, "garbled") / MANIFEST).write_text('{"data": ')
    (add(runs, "halfway") / MANIFEST).unlink()
    (add(runs, "lost") / SUMMARY).unlink()
    edit(add(runs, "lacking"), lambda manifest: manifest.pop("group"))
    edit(add(runs, "misfit"), lambda manifest: manifest["convention"].update(outputs=[0, 1]))
    edit(add(runs, "beyond"), lambda manifest: manifest["convention"].update(averaged=[0, 9]))
    edit(add(runs, "odd"), lambda manifest: manifest.update(protocol="standard"))

    def to_sgma(manifest: dict) -> None:
        manifest.update(group="sgma-group", variant="sgma")

    edit(add(runs, "twin", identity="sgma-0"), to_sgma)
    (add(runs, "nested") / MANIFEST).write_text('{"data": ' + "[" * 100_000)
    edit(add(runs, "climbing"), lambda manifest: manifest.update(data="../potsdam"))
    edit(add(runs, "escaping"), lambda manifest: manifest.update(variant="a\x1b[2J"))
    negative = -np.ones((7, 1, 2, 4, 3), np.int64)
    for name, counts in {
        "negative": negative,
        "unknown": np.full(negative.shape, np.nan),
        "text": negative.astype(str),
        "overflowing": negative.astype(np.uint64),
    }.items():
        rewrite(add(runs, name), counts=counts)
    rewrite(add(runs, "nameless"), subsets=np.arange(7))
    foreign = ("R", "D", "<", "R+D", "R+<", "D+<", "R+D+<")
    rewrite(add(runs, "foreign"), subsets=np.array(foreign))
    promise(add(runs, "huge"))
    replace_counts(add(runs, "unclosed"), np.lib.format.magic(1, 0) + b"\x03\x00((\n")
    replace_counts(add(runs, "no_array"), b"counts")
    add(runs, "elsewhere", fingerprint="e" * 64)
    edit(add(runs, "altered", convention=replace(CONVENTION, absent="zero")), to_sgma)
    other = PROTOCOL.model_copy(update={"name": "other"})
    edit(add(runs, "renamed", protocol=other), to_sgma)
    return [
        "cut/0/record is damaged",
        "garbled/0/record is damaged",
        "halfway/0/record is no whole run record: manifest.json is missing",
        "lost/0/record is no whole run record: summary.npz is missing",
        "lacking/0/record lacks group",
        "misfit/0/record does not fit its counts",
        "beyond/0/record does not fit its counts",
        "odd/0/record is damaged",
        "nested/0/record is damaged",
        "climbing/0/record is damaged",
        "escaping/0/record is damaged",
        "negative/0/record is damaged",
        "unknown/0/record is damaged",
        "text/0/record is damaged",
        "overflowing/0/record is damaged",
        "nameless/0/record is damaged",
        "foreign/0/record does not fit its counts",
        "huge/0/record is damaged",
        "unclosed/0/record is damaged",
        "no_array/0/record is damaged",
        "Two records of one cell differ: the older one",
        "1 records of potsdam with another fingerprint than ffffffffffff",
        "altered/0/record was scored by another protocol",
        "renamed/0/record was scored by another protocol",
    ]


def written(command: str, runs: Path, out: Path) -> dict[str, str]:
    assert main([command, "--runs", str(runs), "--out", str(out), *COMMANDS[command]]) == 0
    return {path.name: path.read_text() for path in sorted(out.iterdir())}


def without_notes(text: str) -> str:
    """A page up to its list of what was left out."""
    page = text.partition("\n\nLeft out:\n\n")[0].partition("\\noindent Left out:")[0]
    # as a page of LaTeX ends, whatever notes it has
    return page.removesuffix("\\fi\n\\endgroup\n").rstrip("\n")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("no_published_records")
def test_left_out_named_and_without_effect(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good(tmp_path / "runs")
    clean = written(command, tmp_path / "runs", tmp_path / "clean")
    assert "Left out" not in capsys.readouterr().out and not any(
        "Left out" in text for text in clean.values()
    )
    pieces = spoil(tmp_path / "runs")
    spoilt = written(command, tmp_path / "runs", tmp_path / "spoilt")
    said = capsys.readouterr().out
    assert said.count("Left out: ") == len(pieces) and all(
        said.count(piece) == 1 for piece in pieces
    )
    assert spoilt.keys() == clean.keys()
    pages = [name for name in clean if not name.endswith(".csv")]
    for name in set(clean) - set(pages):
        assert spoilt[name] == clean[name], "no number changes"
    if (
        command == "tables"
    ):  # notes stand between others there; tables of other datasets say nothing of this one
        assert all(piece in spoilt["sgma_I.md"] for piece in pieces)
        assert (
            "another fingerprint" not in spoilt["sgma_VI.md"]
            and spoilt["sgma_IX.md"] == clean["sgma_IX.md"]
        )
        check_latex(spoilt["sgma_I.tex"])
        return
    for name in pages:
        text = spoilt[name]
        assert without_notes(text) == without_notes(clean[name]), name
        if name.endswith(".md"):
            assert all(text.count(piece) == 1 for piece in pieces)
        else:
            check_latex(text)


@pytest.mark.usefixtures("no_published_records")
def test_without_counts_per_scene_there_is_no_comparison_and_the_page_says_so(
    tmp_path: Path,
) -> None:
    good(tmp_path / "runs")
    for method in ("slim", "stale"):
        shutil.copytree(tmp_path / "runs" / "m3l", tmp_path / "runs" / method)
        for seed in "01":
            record = tmp_path / "runs" / method / seed / "record"
            identity = {"identity": method + seed, "group": method, "variant": method}
            edit(record, lambda manifest, identity=identity: manifest.update(identity))
            if method == "slim":
                (record / SCENES).unlink()
    np.savez(
        tmp_path / "runs" / "stale" / "0" / "record" / SCENES,
        scenes=np.array(["a"]),
        counts_0=np.zeros(3, np.uint32),
    )
    text = written("compare", tmp_path / "runs", tmp_path / "out")["potsdam.md"]
    for piece in (
        "slim/0/record has no scenes.npz",
        "slim/1/record has no",
        "stale/0/record/scenes.npz does not add up",
    ):
        assert text.count(piece) == 1
    assert "| stale pvt_v2_b2 | Average |" in text and "| slim" not in text, (
        "one seed of it can be read"
    )
