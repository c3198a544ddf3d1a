"""Where rasters lie on the ground, and whether two of one scene lie on the same pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from usererror import UserError

TOLERANCE = 0.25  # pixels by which corners may differ: survey programs round differently
FAR = 1e12
Names = tuple[str, str]
REMEDY = "bring them onto one grid (gdalwarp -t_srs -te -tr)"


@dataclass(frozen=True)
class Grid:
    """Where pixels lie: size, coordinate system (None: unknown), transform (None: no place)."""

    height: int
    width: int
    crs: Any
    transform: Any

    @classmethod
    def from_dataset(cls, dataset: Any, shown: str) -> "Grid":
        """Read it from a file; UserError where control points say it, which is no grid."""
        transform = None if dataset.transform.is_identity else dataset.transform
        points, _ = dataset.gcps
        if transform is None and (points or dataset.rpcs):
            by = f"{len(points)} control points" if points else "a camera model (RPC)"
            text = f"{shown} is placed by {by}, not on a grid"
            raise UserError(f"{text}: {REMEDY}.")
        return cls(dataset.height, dataset.width, dataset.crs or None, transform)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Grid":
        """Invert `to_json`."""
        from affine import Affine
        from rasterio.crs import CRS

        crs = CRS.from_wkt(content["crs"]) if content["crs"] else None
        transform = Affine(*content["transform"]) if content["transform"] else None
        return cls(content["height"], content["width"], crs, transform)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        crs = self.crs.to_wkt() if self.crs else None
        transform = list(self.transform)[:6] if self.transform else None
        return {"height": self.height, "width": self.width, "crs": crs, "transform": transform}

    def turned(self) -> "Grid":
        """Return the grid of the same ground with the rows in the opposite order."""
        from affine import Affine

        flip = Affine.translation(0, self.height) @ Affine.scale(1, -1)
        transform = self.transform @ flip if self.transform else None
        return Grid(self.height, self.width, self.crs, transform)


@dataclass(frozen=True)
class Match:
    """How a grid lies beside another: rows reversed or not, and pixels between equal corners."""

    upside_down: bool
    shift: float


def match_grids(own: Grid, other: Grid, names: Names, stretched: bool = False) -> Match:
    """Compare two grids; what one of them does not know agrees.

    With `stretched`, the ground as a whole is compared, whatever the pixels' size. UserError where
    coordinate systems cannot be compared.

    Example:
        >>> from rasterio.transform import Affine, from_origin
        >>> north = Grid(10, 20, None, from_origin(100, 50, 1, 1))
        >>> south = Grid(10, 20, None, Affine(1, 0, 100, 0, 1, 40))
        >>> match_grids(south, north, ("a", "b"))
        Match(upside_down=True, shift=0.0)
    """
    if own.transform is None or other.transform is None:
        return Match(False, 0.0)
    columns, rows = np.array([0, own.width, 0, own.width]), np.array([0, 0, own.height, own.height])
    expected = np.array([columns, rows], float)
    ground = _apply(own.transform, expected)
    if own.crs and other.crs and own.crs != other.crs:
        ground = _transform_points(own.crs, other.crs, ground, names)
    found = _apply(~other.transform, ground)
    if stretched:
        expected *= np.array([[other.width / own.width], [other.height / own.height]])
    straight = _largest(found - expected)
    turned = _largest(found - expected[:, [2, 3, 0, 1]])
    return Match(turned < straight, min(straight, turned))


def _largest(apart: np.ndarray) -> float:
    # what has no place lies as far away as can be
    return float(np.nan_to_num(np.abs(apart), nan=FAR, posinf=FAR).max())


def _apply(transform: Any, points: np.ndarray) -> np.ndarray:
    a, b, c, d, e, f = list(transform)[:6]
    return np.array([[a, b], [d, e]]) @ points + np.array([[c], [f]])


def _transform_points(own: Any, other: Any, points: np.ndarray, names: Names) -> np.ndarray:
    """Bring points from one coordinate system into another; heights of compound ones stay out."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError
    from rasterio.warp import transform

    try:
        moved = np.array(transform(own, other, *points.tolist()))
    except (CPLE_BaseError, RasterioError) as error:
        places = f"{names[0]} is in {crs_name(own)}, {names[1]} in {crs_name(other)}"
        raise UserError(f"{places}, which cannot be compared: {REMEDY}.") from error
    return moved


def describe_shift(own: Grid, other: Grid, names: Names, match: Match) -> str:
    """Say how far two grids lie apart."""
    text = f"{names[0]} and {names[1]} do not share a grid (corners up to"
    text += f" {match.shift:.2f} pixels apart"
    if own.crs and other.crs and own.crs != other.crs:
        text += f"; {crs_name(own.crs)} and {crs_name(other.crs)}"
    return text + ")"


def crs_name(crs: Any) -> str:
    """Return the code of a coordinate system, else its name."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.to_wkt().split('"')[1]
