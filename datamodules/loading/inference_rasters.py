"""Rasters that a user names: checked against each other, read by window, normalised as in training.

A run keeps for each modality what the store knew of it (`ModalitySpec`); new rasters get the same
normalisation, and their invalid pixels the raster's own 5th percentile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.loading.datasets import InputLayer
from datamodules.loading.normalize import HEIGHTS, Normalizer, lowest_and_span
from datamodules.store.raster_file import check_intact, open_raw, unreadable_error
from datamodules.store.reader import Window
from datamodules.store.scene_store import Modality
from datamodules.store.statistics import RasterStatistics
from datamodules.store.units import HEIGHT_FLOOR_M
from usererror import UserError

FILE_AND_BANDS = re.compile(r"(?P<path>.+):(?P<bands>\d+(,\d+)*)$")
STATISTICS_ROWS = 512  # read at once
MAX_SHIFT = 0.05  # pixels by which two grids may differ at a corner
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
        return asdict(self.modality) | rule

    def normalizer_for(self, found: Mapping[str, Any], scene: str) -> Normalizer:
        """Return the rule for one new scene, given the statistics of its raster."""
        mean = np.asarray(self.mean, np.float32).reshape(-1, 1, 1)
        std = np.asarray(self.std, np.float32).reshape(-1, 1, 1)
        fill = {scene: found["p05"]}
        offsets = {scene: float(found["p05"][0])} if self.lowered else {}
        spans = {}
        if self.ranged:
            offsets[scene], spans[scene] = lowest_and_span(found)
        return Normalizer(mean, std, offsets, self.modality.kind, fill, spans)


@dataclass(frozen=True)
class Grid:
    """Where pixels lie: size, coordinate system (None: unknown), transform (None: no place)."""

    height: int
    width: int
    crs: Any
    transform: Any


@dataclass
class InferenceRaster:
    """One modality of a scene, open for reading; `shown` is the file's name for the user.

    `bands` count from 1; without `honour_nodata`, pixels that the file calls nodata are read like
    all others. UserError where not one pixel is valid.
    """

    shown: str
    dataset: Any
    bands: Sequence[int]
    expected: ModalitySpec
    honour_nodata: bool = True

    def __post_init__(self) -> None:
        self.normalizer = self.expected.normalizer_for(self._statistics(), self.shown)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read a window, which may reach beyond the raster: it is mirrored there.

        Returns normalised float32 `(C, H, W)`, and bool `(H, W)` where the raster says something; a
        mirrored pixel is as valid as its original.
        """
        rows = mirror_index(window.row, window.height, self.dataset.height)
        columns = mirror_index(window.col, window.width, self.dataset.width)
        top, left = int(rows.min()), int(columns.min())
        height, width = int(rows.max()) - top + 1, int(columns.max()) - left + 1
        raw = self._read_raw(Window(top, left, height, width))
        clean = self.normalizer.to_valid(raw, self.shown)
        rows, columns = (rows - top)[:, None], (columns - left)[None, :]
        pixels = self.normalizer.standardize(clean[:, rows, columns], self.shown)
        return pixels, np.isfinite(raw).any(0)[rows, columns]

    def _read_raw(self, window: Window) -> np.ndarray:
        """Read float32 `(C, H, W)` in stored units, NaN where a pixel is invalid."""
        import rasterio.windows
        from rasterio.errors import RasterioError

        place = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        bands = list(self.bands)
        try:
            pixels = self.dataset.read(bands, window=place).astype(np.float32)
            if self.honour_nodata:
                # nodata in all bands: a colour may hold that value in one of them
                pixels[:, ~self.dataset.read_masks(bands, window=place).any(0)] = np.nan
        except RasterioError as error:
            raise unreadable_error(self.shown, error) from error
        if self.expected.modality.kind in HEIGHTS:
            pixels[pixels < HEIGHT_FLOOR_M] = np.nan
        return pixels

    def _statistics(self) -> dict[str, Any]:
        height, width = self.dataset.height, self.dataset.width
        modality = self.expected.modality
        statistics = RasterStatistics(len(self.bands), "float32", height, width, modality.kind)
        for row in range(0, height, STATISTICS_ROWS):
            rows = min(STATISTICS_ROWS, height - row)
            statistics.update(self._read_raw(Window(row, 0, rows, width)))
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
        datasets, bands = {}, {}
        for name, (path, chosen) in inputs.items():
            # damaged files are told apart before pixels are looked at: decoders fill gaps silently
            check_intact(path, str(path))
            datasets[str(path)] = dataset = stack.enter_context(open_raw(path, str(path)))
            bands[name] = _choose_bands(dataset, chosen, expected[name].modality, path)
        grid = _common_grid(datasets)
        rasters = {}
        for name, (path, _) in inputs.items():
            shown, spec = str(path), expected[name]
            file = datasets[shown]
            rasters[name] = InferenceRaster(shown, file, bands[name], spec, honour_nodata)
        yield rasters, grid


def _choose_bands(
    dataset: Any, bands: Sequence[int], modality: Modality, path: Path
) -> Sequence[int]:
    """Choose the bands to read: those asked for, or all but transparency."""
    for band in bands:
        if not 1 <= band <= dataset.count:
            raise UserError(f"{path} has no band {band}; its bands are 1 to {dataset.count}.")
    # transparency is a mask, which is read apart
    kinds = enumerate(dataset.colorinterp, 1)
    bands = bands or [number for number, kind in kinds if kind.name != "alpha"]
    if len(bands) != modality.channels:
        example = ",".join(map(str, range(1, modality.channels + 1)))
        raise UserError(
            f"{modality.name} takes {modality.channels} band(s), but {len(bands)} of {path} are "
            f"given: choose them with {modality.name}={path}:{example}."
        )
    types = {dataset.dtypes[band - 1] for band in bands}
    # counts of another type have another range; metres and decibels mean the same in any
    if modality.unit == "counts" and {STORED_AS.get(t, t) for t in types} != {modality.dtype}:
        raise UserError(
            f"{path} holds {', '.join(sorted(types))} values, but this run was trained on "
            f"{modality.dtype} counts of {modality.name}: convert it to the range of the training "
            "data."
        )
    return bands


def _common_grid(datasets: Mapping[str, Any]) -> Grid:
    """Return the grid that all files share."""
    first, reference = next(iter(datasets.items()))
    # each file is compared with the first one that has what is compared
    crs_of = transform_of = ""
    for path, dataset in datasets.items():
        if dataset.crs:
            crs_of = crs_of or path
            if dataset.crs != datasets[crs_of].crs:
                places = f"{path} is in {_crs_name(dataset)}, {crs_of} in"
                other = _crs_name(datasets[crs_of])
                raise UserError(f"{places} {other}: reproject one of them (gdalwarp -t_srs).")
        if dataset.shape != reference.shape:
            rows, columns = dataset.shape
            raise UserError(
                f"{path} has {rows} x {columns} pixels (rows x columns), {first} "
                f"{reference.height} x {reference.width}: bring them onto one grid "
                "(gdalwarp -te -tr)."
            )
        if not dataset.transform.is_identity:
            transform_of = transform_of or path
            shift = _corner_shift(dataset, datasets[transform_of])
            if shift > MAX_SHIFT:
                raise UserError(
                    f"{path} and {transform_of} do not share a grid (corners up to {shift:.2f} "
                    "pixels apart): bring them onto one (gdalwarp -te -tr)."
                )
    crs = datasets[crs_of].crs if crs_of else None
    transform = datasets[transform_of].transform if transform_of else None
    return Grid(reference.height, reference.width, crs, transform)


def _corner_shift(one: Any, other: Any) -> float:
    """Return the largest distance between equal corners, in pixels of `other`."""
    height, width = one.shape
    corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], float)
    ground = np.reshape(one.transform, (3, 3)) @ corners
    back = np.linalg.solve(np.reshape(other.transform, (3, 3)), ground)
    return float(np.abs(back - corners).max())


def _crs_name(dataset: Any) -> str:
    code = dataset.crs.to_epsg()
    return f"EPSG:{code}" if code else dataset.crs.to_wkt().split('"')[1]
