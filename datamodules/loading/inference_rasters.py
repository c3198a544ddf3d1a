"""Rasters that a user names on the command line: checked against each other, read window by window, normalised.

A run keeps for each modality what the store knew of it (`ModalitySpec`), so that new rasters are read as the training
scenes were: the same normalisation, and invalid pixels filled with the raster's own 5th percentile.
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
from datamodules.loading.normalize import HEIGHTS, Normalizer
from datamodules.store.raster_file import check_intact, open_raw, unreadable
from datamodules.store.reader import Window
from datamodules.store.scene_store import Modality
from datamodules.store.statistics import RasterStatistics
from datamodules.store.units import HEIGHT_FLOOR_M
from usererror import UserError

BANDS = re.compile(r"(?P<path>.+):(?P<bands>\d+(,\d+)*)$")
ROWS = 512  # read at once for statistics
SHIFT = 0.05  # pixels by which two grids may differ at a corner
STORED_WIDER = {
    "float64": "float32",
    "int8": "int16",
}  # what an import makes of types that stores do not have


@dataclass(frozen=True)
class ModalitySpec:
    """A modality as a trained network takes it: the raster's description and its normalisation in stored units.

    With `lowered`, heights are measured from the raster's own 5th percentile before `mean` and `std` apply.
    """

    modality: Modality
    mean: list[float]
    std: list[float]
    lowered: bool

    @classmethod
    def from_layer(cls, layer: InputLayer, modality: Modality) -> ModalitySpec:
        """What the datamodule reads for a modality."""
        rule = layer.normalizer
        return cls(
            modality, rule.mean.ravel().tolist(), rule.std.ravel().tolist(), bool(rule.offsets)
        )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ModalitySpec:
        """Inverse of `to_json`; KeyError or TypeError for anything else."""
        rule = {key: content[key] for key in ("mean", "std", "lowered")}
        return cls(
            Modality(**{key: value for key, value in content.items() if key not in rule}), **rule
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **asdict(self.modality),
            "mean": self.mean,
            "std": self.std,
            "lowered": self.lowered,
        }

    def normalizer_for(self, percentile: Sequence[float], scene: str) -> Normalizer:
        """The rule for one new scene, given the 5th percentile of each of its channels."""
        mean, std = (
            np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (self.mean, self.std)
        )
        offsets = {scene: float(percentile[0])} if self.lowered else {}
        return Normalizer(mean, std, offsets, self.modality.kind, {scene: percentile})


@dataclass(frozen=True)
class Grid:
    """Where pixels lie: size, coordinate system (None: unknown) and transform (None: no place at all)."""

    height: int
    width: int
    crs: Any
    transform: Any


class InferenceRaster:
    """One modality of a scene, open for reading.

    Args:
        shown: the file's name for the user.
        dataset: the open file.
        bands: numbers of the bands, from 1.
        expected: what the network takes.
        honour_nodata: False reads pixels that the file calls nodata like all others.

    Raises:
        UserError: not one valid pixel.
    """

    def __init__(
        self,
        shown: str,
        dataset: Any,
        bands: Sequence[int],
        expected: ModalitySpec,
        honour_nodata: bool = True,
    ) -> None:
        self.shown, self.dataset, self.bands, self.expected = shown, dataset, list(bands), expected
        self.honour_nodata = honour_nodata
        self.normalizer = expected.normalizer_for(self._percentile(), self.shown)

    @property
    def grid(self) -> Grid:
        """Its place; a file whose transform is the identity has none."""
        transform = None if self.dataset.transform.is_identity else self.dataset.transform
        return Grid(self.dataset.height, self.dataset.width, self.dataset.crs, transform)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """(normalised float32 C x height x width, bool height x width: the raster says something there).

        Windows may reach beyond the raster, which is mirrored there; a mirrored pixel is as valid as its original.

        Raises:
            UserError: the pixels cannot be decoded.
        """
        rows = mirror_index(window.row, window.height, self.dataset.height)
        columns = mirror_index(window.col, window.width, self.dataset.width)
        top, left = int(rows.min()), int(columns.min())
        raw = self._raw(Window(top, left, int(rows.max()) - top + 1, int(columns.max()) - left + 1))
        clean = self.normalizer.to_valid(raw, self.shown)
        here = np.ix_(rows - top, columns - left)
        return self.normalizer.standardize(clean[:, *here], self.shown), np.isfinite(raw).any(0)[
            here
        ]

    def _raw(self, window: Window) -> np.ndarray:
        """float32 C x h x w in stored units, NaN where a pixel is invalid."""
        import rasterio.windows
        from rasterio.errors import RasterioError

        place = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        try:
            pixels = self.dataset.read(self.bands, window=place).astype(np.float32)
            if self.honour_nodata:
                # nodata in all bands: a colour may hold that value in one of them
                pixels[:, ~self.dataset.read_masks(self.bands, window=place).any(0)] = np.nan
        except RasterioError as error:
            raise unreadable(self.shown, error) from error
        if self.expected.modality.kind in HEIGHTS:
            pixels[pixels < HEIGHT_FLOOR_M] = np.nan
        return pixels

    def _percentile(self) -> list[float]:
        height, width = self.dataset.height, self.dataset.width
        modality = self.expected.modality
        statistics = RasterStatistics(len(self.bands), "float32", height, width, modality.kind)
        for row in range(0, height, ROWS):
            statistics.update(self._raw(Window(row, 0, min(ROWS, height - row), width)))
        found = statistics.result()
        if found["count"] == 0:
            raise UserError(
                f"{self.shown} has no valid pixel: leave {modality.name} out, or name another file."
            )
        return found["p05"]


def mirror_index(start: int, length: int, size: int) -> np.ndarray:
    """int `length`: the pixel of a row of `size` pixels at start, start + 1, ..., the row mirrored at both ends."""
    index = np.arange(start, start + length) % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)


def parse_inputs(
    words: Sequence[str], names: Sequence[str]
) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """{modality: (path, bands)} of words such as `nir=scene.tif:4`, in the order of `names`; no bands: all.

    Raises:
        UserError: not of this form, unknown or repeated modality, no such file.
    """
    found: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        if not (name and equals and rest):
            raise UserError(
                f"{word!r} does not say which modality it is: write <modality>=<file> or <file>:<bands>."
            )
        if name not in names:
            raise UserError(f"This run has no modality {name!r}; it has: {', '.join(names)}.")
        if name in found:
            raise UserError(f"Two files are given for {name}; a modality is read from one file.")
        chosen = BANDS.match(rest)
        path = Path(chosen["path"] if chosen else rest).expanduser()
        if not path.is_file():
            raise UserError(f"There is no file {path} (given for {name}).")
        found[name] = (path, tuple(map(int, chosen["bands"].split(","))) if chosen else ())
    if not found:
        raise UserError(
            f"No input is given: name at least one of {', '.join(names)} as <modality>=<file>."
        )
    return {name: found[name] for name in names if name in found}


@contextmanager
def open_scene(
    inputs: Mapping[str, tuple[Path, Sequence[int]]],
    expected: Mapping[str, ModalitySpec],
    honour_nodata: bool = True,
) -> Iterator[tuple[dict[str, InferenceRaster], Grid]]:
    """Open the files of one scene: ({modality: raster}, their common grid).

    Files are told apart from damaged ones before their pixels are looked at. A file without a coordinate system, or
    without any place, is taken to lie where the others of its size lie.

    Raises:
        UserError: a file that is no image or cut short, too few bands, another type of values than in training, another
            coordinate system or grid, no valid pixel.
    """
    with ExitStack() as stack:
        datasets, chosen = {}, {}
        for name, (path, bands) in inputs.items():
            check_intact(path, str(path))
            datasets[name] = stack.enter_context(open_raw(path, str(path)))
            chosen[name] = _bands(datasets[name], bands, expected[name].modality, path)
        grid = _common_grid({str(inputs[name][0]): dataset for name, dataset in datasets.items()})
        rasters = {
            name: InferenceRaster(
                str(inputs[name][0]), dataset, chosen[name], expected[name], honour_nodata
            )
            for name, dataset in datasets.items()
        }
        yield rasters, grid


def _bands(dataset: Any, bands: Sequence[int], modality: Modality, path: Path) -> list[int]:
    """The bands to read: those asked for, or all but transparency."""
    if missing := [band for band in bands if not 1 <= band <= dataset.count]:
        raise UserError(f"{path} has no band {missing[0]}; its bands are 1 to {dataset.count}.")
    found = list(bands) or [
        i for i, kind in enumerate(dataset.colorinterp, 1) if kind.name != "alpha"
    ]
    if len(found) != modality.channels:
        example = ",".join(map(str, range(1, modality.channels + 1)))
        raise UserError(
            f"{modality.name} takes {modality.channels} band(s), but {len(found)} of {path} are given: "
            f"choose them with {modality.name}={path}:{example}."
        )
    kinds = {dataset.dtypes[band - 1] for band in found}
    stored = {STORED_WIDER.get(kind, kind) for kind in kinds}
    if modality.unit == "counts" and stored != {modality.dtype}:
        raise UserError(
            f"{path} holds {', '.join(sorted(kinds))} values, but this run was trained on {modality.dtype} counts of "
            f"{modality.name}: convert it to the range of the training data."
        )
    return found


def _common_grid(datasets: Mapping[str, Any]) -> Grid:
    """The grid that all files share; each is compared with the first that has what is compared."""
    first, reference = next(iter(datasets.items()))
    crs_of = transform_of = ""
    for path, dataset in datasets.items():
        if dataset.crs:
            if crs_of and dataset.crs != datasets[crs_of].crs:
                raise UserError(
                    f"{path} is in {_crs_name(dataset.crs)}, {crs_of} in {_crs_name(datasets[crs_of].crs)}: "
                    "reproject one of them (gdalwarp -t_srs)."
                )
            crs_of = crs_of or path
        if (dataset.height, dataset.width) != (reference.height, reference.width):
            raise UserError(
                f"{path} has {dataset.height} x {dataset.width} pixels (rows x columns), {first} "
                f"{reference.height} x {reference.width}: bring them onto one grid (gdalwarp -te -tr)."
            )
        if not dataset.transform.is_identity:
            if transform_of and (shift := _shift(dataset, datasets[transform_of])) > SHIFT:
                raise UserError(
                    f"{path} and {transform_of} do not share a grid (corners up to {shift:.2f} pixels apart): "
                    "bring them onto one (gdalwarp -te -tr)."
                )
            transform_of = transform_of or path
    return Grid(
        reference.height,
        reference.width,
        datasets[crs_of].crs if crs_of else None,
        datasets[transform_of].transform if transform_of else None,
    )


def _shift(one: Any, other: Any) -> float:
    """The largest distance between equal corners, in pixels of `other`."""
    corners = np.array(
        [(0, 0, 1), (one.width, 0, 1), (0, one.height, 1), (one.width, one.height, 1)], float
    ).T
    ground = np.reshape(one.transform, (3, 3)) @ corners
    return float(
        np.abs(np.linalg.solve(np.reshape(other.transform, (3, 3)), ground) - corners).max()
    )


def _crs_name(crs: Any) -> str:
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.to_wkt().split('"')[1]
