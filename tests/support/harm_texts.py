"""Ways to harm the texts of a source: about.json, other JSON, tables."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.support.harm_case import Case, put

# ---- what is done to text files

NUMBERS: list[Any] = [-1, 0, True, 1e308, 10**30, float("nan"), float("inf")]
VALUES: list[Any] = [*NUMBERS, None, [], {}, "x", "", "a\nb", [[]], {"a": 1}]
CELLS = [
    "",
    "../../x",
    "/etc/passwd",
    "/dev/zero",
    "nan",
    '"',
    "a\0b",
    "\u2603",
    "=1",
    "-1",
    "x" * 300,
    "..",
    "rgb",
    "256",
]


def change_one(value: Any, rng: random.Random) -> Any:
    """Take something out of a JSON value, or put something else there."""
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = rng.choice(keys)
        if rng.random() < 0.3:
            del value[key]
        else:
            value[key] = change_one(value[key], rng)
        return value
    return rng.choice(VALUES)


def about_changed(case: Case) -> None:
    about: dict[str, Any] = {
        "title": "t",
        "licence": "l",
        "citation": "c",
        "gsd_m": 0.5,
        "nadir": True,
    }
    about["modalities"] = {"rgb": {"letter": "T", "kind": "optical", "unit": "K"}}
    text = json.dumps(change_one(about, case.rng)).encode()
    texts = [
        text,
        text,
        text,
        b"[" * 200_000,
        b"",
        b"\xff",
        b'{"gsd_m": ' + b"9" * 6000 + b"}",
        b"\xef\xbb\xbf" + text,
    ]
    put(case.source / "about.json", case.rng.choice(texts))
    case.names.append("about.json")


def json_changed(case: Case) -> None:
    path = case.pick(".json")
    text = path.read_bytes()
    if case.rng.random() < 0.7:
        text = json.dumps(change_one(json.loads(text), case.rng)).encode()
    else:
        text = case.rng.choice(
            [
                text[: case.rng.randrange(len(text))],
                b"",
                b"[" * 200_000,
                b"\xff",
                b"null",
                b"[]",
                b"{}",
                b"7",
            ]
        )
    put(path, text)


def table_changed(case: Case) -> None:
    path = case.pick(".csv")
    lines = path.read_text().splitlines()
    row = case.rng.randrange(len(lines))
    cells = lines[row].split(",")
    cells[case.rng.randrange(len(cells))] = case.rng.choice(CELLS)
    lines[row] = ",".join(cells)
    if case.rng.random() < 0.3:
        lines.insert(row, case.rng.choice(lines))
    text = "\n".join(lines).encode()
    put(
        path,
        case.rng.choice(
            [text, text, text, text, text[: len(text) // 2], b"\xff\xfe" + text, b"", b'"' * 9]
        ),
    )
    case.names += ["scenes.csv", "classes.csv", "raster", "split_standard"]
