"""Which patches of FLAIR-HUB are for training (dossier of open datasets, section 4.5).

Official lists stand in `GLOBAL_ALL_MTD_SPLIT.gpkg` and in three CSV files of the code repository,
of which only the toy's are packaged; the whole dataset's are read from what a user has.
"""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing

from datamodules.adapters.open_data.planner import name_some
from datamodules.ingest.sources import SourceFile, SourceIndex
from datamodules.splits.tables import read_split_table
from usererror import UserError

GEOPACKAGE = re.compile(r"(?i).+_SPLIT\.gpkg$")
CSV_LIST = re.compile(r"(?i)FLAIR-HUB_(TRAIN|VALID|TEST)\.csv$")
LISTED = re.compile(r"(D\d{3,6}-\d{4})_AERIAL_RGBI_([A-Z]{2}-S\d-[A-Z]?\d+_\d+-\d+)\.tif")
PARTS = {"train": "train", "valid": "val", "test": "test"}
SOURCES = (
    "GLOBAL_ALL_MTD.zip (it holds GLOBAL_ALL_MTD_SPLIT.gpkg), or FLAIR-HUB_FULL.zip from the "
    "folder csv of the code repository IGNF/FLAIR-HUB"
)
TOY, OFFICIAL = "split_toy", "split_1"
ALIASES = {"split_flairhub": OFFICIAL}  # as a user of the real file quotes its columns
MAX_NEAR = 2  # archives that are proposed
Lists = Mapping[str, Mapping[str, str]]  # {split column: {patch: part}}


def domain_of(patch: str) -> str:
    """Return the department, or two that are joined, of a patch or an archive.

    Example:
        >>> domain_of("D024047-2021_AA-S1-32_1-1")
        'D024047'
    """
    return patch.split("-")[0]


def read_lists(index: SourceIndex) -> dict[str, dict[str, str]]:
    """Return the official lists: the toy's, and all of the source; raises UserError for bad ones.

    `valid` is called val; a value that is no part is left out.
    """
    toy = {patch: row["split"] for patch, row in read_split_table("flairhub_toy_split").items()}
    lists = {TOY: dict(toy)}
    by_folder: dict[str, dict[str, str]] = {}
    for file, match in index.match_names(CSV_LIST):
        _add_rows(file, PARTS[match[1].lower()], by_folder.setdefault(file.folder, {}), index)
    for parts in by_folder.values():
        # the files of both archives have the same names
        lists.setdefault(TOY if parts.keys() <= toy.keys() else OFFICIAL, {}).update(parts)
    for file, _ in index.match_names(GEOPACKAGE):
        for column, parts in _read_geopackage(file, index).items():
            lists.setdefault(column, {}).update(parts)
    return lists


def _add_rows(file: SourceFile, part: str, parts: dict[str, str], index: SourceIndex) -> None:
    """Add the patches of a CSV list, whatever parts its columns: a row holds a path per sensor."""
    # the list of the whole dataset is larger than a table that is read at once may be
    with file.extract(index.scratch).open(encoding="utf-8", errors="replace") as stream:
        found = ["_".join(match.groups()) for line in stream if (match := LISTED.search(line))]
    if not found:
        raise UserError(f"{file.origin} names no patch of FLAIR-HUB: replace it or take it away.")
    for patch in found:
        if parts.setdefault(patch, part) != part:
            both = f"{file.origin} names {patch}, which the list of {parts[patch]} patches has too"
            raise UserError(f"{both}: replace the lists.")


def _read_geopackage(file: SourceFile, index: SourceIndex) -> dict[str, dict[str, str]]:
    """Return {split column: {patch: part}} of a GeoPackage, which is an SQLite file."""
    place = f"{file.extract(index.scratch).absolute().as_uri()}?mode=ro&immutable=1"
    lists: dict[str, dict[str, str]] = {}
    try:
        with closing(sqlite3.connect(place, uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in tables.fetchall():
                about = database.execute("SELECT name FROM pragma_table_info(?)", (table,))
                names = [name for (name,) in about]
                columns = [name for name in names if re.fullmatch(r"split_\w+", name)]
                for column in columns if "patch_id" in names else ():
                    rows = database.execute(f'SELECT patch_id, "{column}" FROM "{table}"')
                    parts = {str(patch): PARTS[v] for patch, v in rows if v in PARTS}
                    lists[ALIASES.get(column, column)] = parts
    except sqlite3.Error as error:
        damaged = f"{file.origin} cannot be read as a GeoPackage ({error})"
        raise UserError(f"{damaged}: replace it by that of GLOBAL_ALL_MTD.zip.") from error
    if not lists:
        raise UserError(f"{file.origin} has no table with patch_id and split_1: replace it.")
    return lists


def domain_parts(lists: Lists) -> dict[str, str]:
    """Return {department: part} of all that official lists know, so that no two parts share one.

    Those of the official test part are test, every fifth of the others val, whatever was imported.
    """
    table = read_split_table("flairhub_domains").values()
    proposed = {row["domain"] for row in table if row["val_proposed"] == "1"}
    parts: dict[str, str] = {}
    for patch, part in {**lists[TOY], **lists.get(OFFICIAL, {})}.items():
        domain = domain_of(patch)
        if part == "test":
            parts[domain] = part
        else:
            parts.setdefault(domain, "val" if domain in proposed else "train")
    return parts


def split_rows(patches: Sequence[str], lists: Lists) -> dict[str, dict[str, str]]:
    """Return {patch: {split column: part}}; raises UserError for departments that no list has."""
    parts = domain_parts(lists)
    if unlisted := sorted({domain_of(patch) for patch in patches} - parts.keys()):
        named = name_some(unlisted)
        raise UserError(f"No list says for what the patches of {named} are: add {SOURCES}.")
    # the list that has none of the patches is of other data
    columns = [column for column, listed in lists.items() if not listed.keys().isdisjoint(patches)]
    rows = {}
    for patch in patches:
        rows[patch] = {"split_standard": parts[domain_of(patch)]}
        rows[patch] |= {column: lists[column].get(patch, "unused") for column in columns}
    return rows


def name_lacking_parts(patches: Sequence[str], lists: Lists) -> list[str]:
    """Say which archives would add a val part; raises UserError where train or test is empty."""
    parts = domain_parts(lists)
    here = {domain_of(patch) for patch in patches}
    warnings = []
    for part in ("train", "test", "val"):
        if part in {parts[domain] for domain in here}:
            continue
        near: list[tuple[int, str]] = []
        for prefix, row in read_split_table("flairhub_domains").items():
            if parts.get(row["domain"]) == part:
                near.append((min(_apart(row["domain"], domain) for domain in here), prefix))
        archives = " or ".join(f"{prefix}_*.zip" for _, prefix in sorted(near)[:MAX_NEAR])
        lacking = f"No department here is in the {part} part of FLAIR-HUB: add {archives}"
        if part != "val":
            raise UserError(f"{lacking}, of every sensor.")
        warnings.append(f"{lacking}, or a run keeps its last weights")
    return warnings


def _apart(one: str, other: str) -> int:
    # numbers of departments follow the alphabet: near in the list, not on the map
    return abs(int(one[1:4]) - int(other[1:4]))
