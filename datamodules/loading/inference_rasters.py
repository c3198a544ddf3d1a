"""Rasters that a user names: checked against each other, read by window, normalised as in training.

A run keeps for each modality what the store knew of it (`ModalitySpec`); new rasters get the same
normalisation, and their invalid pixels the raster's own 5th percentile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.loading.input_layer import InputLayer
from datamodules.loading.normalize import Normalizer, lowest_and_span
from datamodules.rasters.placement import REMEDY, TOLERANCE, Grid, describe_shift, match_grids
from datamodules.rasters.raster_file import check_intact, open_raw
from datamodules.rasters.source_raster import SourceRaster
from datamodules.rasters.units import invalid_values
from datamodules.store.reader import Window
from datamodules.store.scene_store import Modality
from datamodules.store.statistics import RasterStatistics
from usererror import UserError

FILE_AND_BANDS = re.compile(r"(?P<path>.+):(?P<bands>\d+(,\d+)*)$")
STATISTICS_ROWS = 512  # read at once
# what an import makes of types that stores do not have
STORED_AS = {"float64": "float32", "int8": "int16"}


@dataclass(frozen=True)
class ModalitySpec:
    """A modality as a trained network takes it: its raster and its normalisation in stored units.

    With `lowered`, heights are measured from the raster's own 5th percentile before `mean` and
    `std` apply; with `ranged`, from its lowest value, as a share of its own range.
    """

    modality: Modality
    mean: list[float]
    std: list[float]
    lowered: bool
    ranged: bool = False

    @classmethod
    def from_layer(cls, layer: InputLayer, modality: Modality) -> ModalitySpec:
        """Describe what the datamodule reads for a modality."""
        fitted = layer.normalizer
        mean, std = fitted.mean.ravel().tolist(), fitted.std.ravel().tolist()
        ranged = bool(fitted.spans)
        return cls(modality, mean, std, bool(fitted.offsets) and not ranged, ranged)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ModalitySpec:
        """Invert `to_json`; KeyError or TypeError for anything else."""
        fields = dict(content)
        rule = {key: fields.pop(key) for key in ("mean", "std", "lowered")}
        # runs of before it was known have none
        rule["ranged"] = fields.pop("ranged", False)
        return cls(Modality(**fields), **rule)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        rule = {"mean": self.mean, "std": self.std, "lowered": self.lowered, "ranged": self.ranged}
        return self.modality.to_json() | rule

    def normalizer_for(self, found: Mapping[str, Any], scene: str) -> Normalizer:
        """Return the rule for one new scene, given the statistics of its raster."""
        mean = np.asarray(self.mean, np.float32).reshape(-1, 1, 1)
        std = np.asarray(self.std, np.float32).reshape(-1, 1, 1)
        fill = {scene: found["p05"]}
        offsets = {scene: float(found["p05"][0])} if self.lowered else {}
        spans = {}
        if self.ranged:
            offsets[scene], spans[scene] = lowest_and_span(found)
        known = self.modality
        return Normalizer(mean, std, offsets, known.kind, fill, spans, known.clip_db)


@dataclass
class InferenceRaster:
    """One modality of a scene, open for reading; `shown` is the file's name for the user.

    UserError where not one pixel is valid.
    """

    shown: str
    source: SourceRaster
    expected: ModalitySpec

    def __post_init__(self) -> None:
        self.normalizer = self.expected.normalizer_for(self._statistics(), self.shown)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read a window, which may reach beyond the raster: it is mirrored there.

        Returns normalised float32 `(C, H, W)`, and bool `(H, W)` where the raster says something; a
        mirrored pixel is as valid as its original.
        """
        size = self.source.dataset
        rows = mirror_index(window.row, window.height, size.height)
        columns = mirror_index(window.col, window.width, size.width)
        top, left = int(rows.min()), int(columns.min())
        height, width = int(rows.max()) - top + 1, int(columns.max()) - left + 1
        kind = self.expected.modality.kind
        values, void = self.source.read(top, left, height, width, kind)
        raw = values.astype(np.float32)
        if void is not None:
            raw[:, void] = np.nan
        raw[invalid_values(values, kind)] = np.nan
        clean = self.normalizer.to_valid(raw, self.shown)
        rows, columns = (rows - top)[:, None], (columns - left)[None, :]
        pixels = self.normalizer.standardize(clean[:, rows, columns], self.shown)
        says = np.asarray(np.isfinite(raw).any(0))
        return pixels, says[rows, columns]

    def _statistics(self) -> dict[str, Any]:
        source, modality = self.source, self.expected.modality
        height, width = source.dataset.height, source.dataset.width
        # bytes are counted exactly, as at import
        dtype = "uint8" if source.dtype == "uint8" else "float32"
        form = len(source.bands), dtype, height, width
        statistics = RasterStatistics(*form, modality.kind, modality.clip_db)
        for row in range(0, height, STATISTICS_ROWS):
            rows = min(STATISTICS_ROWS, height - row)
            statistics.update(*source.read(row, 0, rows, width, modality.kind))
        found = statistics.result()
        if found["count"] == 0:
            raise UserError(
                f"{self.shown} has no valid pixel: leave {modality.name} out, or name another file."
            )
        return found


def mirror_index(start: int, length: int, size: int) -> np.ndarray:
    """Return the pixels at start, start + 1, ... of a row that is mirrored at both ends.

    Example:
        >>> mirror_index(-2, 7, size=3).tolist()
        [1, 0, 0, 1, 2, 2, 1]
    """
    # a mirrored row repeats after twice its length
    index = np.arange(start, start + length) % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)


def parse_inputs(
    words: Sequence[str], names: Sequence[str]
) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """Parse words such as `nir=scene.tif:4`: {modality: (path, bands)} in the order of `names`.

    No bands mean all. UserError for another form, an unknown or repeated modality, no such file.
    """
    found: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for word in words:
        name, _, rest = word.partition("=")
        if not (name and rest):
            form = "write <modality>=<file> or <file>:<bands>."
            raise UserError(f"{word!r} does not say which modality it is: {form}")
        if name not in names:
            raise UserError(f"This run has no modality {name!r}; it has: {', '.join(names)}.")
        if name in found:
            raise UserError(f"Two files are given for {name}; a modality is read from one file.")
        chosen = FILE_AND_BANDS.match(rest)
        path = Path(chosen["path"] if chosen else rest).expanduser()
        if not path.is_file():
            raise UserError(f"There is no file {path} (given for {name}).")
        found[name] = (path, tuple(map(int, chosen["bands"].split(","))) if chosen else ())
    if not found:
        known = ", ".join(names)
        raise UserError(f"No input is given: name at least one of {known} as <modality>=<file>.")
    return {name: found[name] for name in names if name in found}


@contextmanager
def open_scene(
    inputs: Mapping[str, tuple[Path, Sequence[int]]],
    expected: Mapping[str, ModalitySpec],
    honour_nodata: bool = True,
) -> Iterator[tuple[dict[str, InferenceRaster], Grid]]:
    """Open the files of one scene: ({modality: raster}, their common grid).

    A file without a coordinate system, or without any place, is taken to lie where the others of
    its size lie. UserError for a file that is no image or cut short, too few bands, another type of
    values than in training, another coordinate system or grid, no valid pixel.
    """
    with ExitStack() as stack:
        sources: dict[str, SourceRaster] = {}
        for name, (path, chosen) in inputs.items():
            # damaged files are told apart before pixels are looked at: decoders fill gaps silently
            check_intact(path, str(path))
            dataset = stack.enter_context(open_raw(path, str(path)))
            modality = expected[name].modality
            sources[name] = _describe(dataset, chosen, modality, path, honour_nodata)
        grid = _common_grid(list(sources.values()))
        rasters = {}
        for name, source in sources.items():
            rasters[name] = InferenceRaster(source.shown, source, expected[name])
        yield rasters, grid


def _describe(
    dataset: Any, bands: Sequence[int], modality: Modality, path: Path, believe: bool
) -> SourceRaster:
    """Take the bands asked for, or all but transparency."""
    source = SourceRaster(dataset, str(path), bands or None, False, believe, by_colour=not bands)
    held = max(dataset.count, source.count)
    for band in bands:
        if not 1 <= band <= held:
            raise UserError(f"{path} has no band {band}; its bands are 1 to {held}.")
    if len(source.bands) != modality.channels:
        example = ",".join(map(str, range(1, modality.channels + 1)))
        raise UserError(
            f"{modality.name} takes {modality.channels} band(s), but {len(source.bands)} of {path} "
            f"are given: choose them with {modality.name}={path}:{example}."
        )
    # counts of another type have another range; metres and decibels mean the same in any
    types = source.dtypes
    if modality.unit == "counts" and {STORED_AS.get(t, t) for t in types} != {modality.dtype}:
        raise UserError(
            f"{path} holds {', '.join(sorted(types))} values, but this run was trained on "
            f"{modality.dtype} counts of {modality.name}: convert it to the range of the training "
            "data."
        )
    return source


def _common_grid(sources: Sequence[SourceRaster]) -> Grid:
    """Return the grid that all files share; rows that run the other way are turned."""
    first = sources[0]
    height, width = first.dataset.shape
    placed: tuple[Grid, str] | None = None
    crs = None
    for source in sources:
        own = Grid.from_dataset(source.dataset, source.shown)
        if (own.height, own.width) != (height, width):
            raise UserError(
                f"{source.shown} has {own.height} x {own.width} pixels (rows x columns), "
                f"{first.shown} {height} x {width}: {REMEDY}."
            )
        crs = crs or own.crs
        if placed is None:
            placed = (own, source.shown) if own.transform is not None else None
            continue
        names = source.shown, placed[1]
        match = match_grids(own, placed[0], names)
        if match.shift > TOLERANCE:
            raise UserError(f"{describe_shift(own, placed[0], names, match)}: {REMEDY}.")
        source.upside_down = match.upside_down
    return Grid(height, width, crs, placed[0].transform if placed else None)
