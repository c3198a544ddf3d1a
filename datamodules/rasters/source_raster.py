"""A raster as it describes itself: its colours, and the pixels that it says nothing of.

Import and maps read files through this one class, so that a file means the same to both.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from datamodules.rasters.raster_file import unreadable_error
from datamodules.rasters.units import invalid_values
from usererror import UserError

# a true alpha band says here or not here; one with more values between is infrared, which GDAL
# calls alpha wherever a fourth band of 8 bits has no name
ALPHA_BETWEEN = 0.05
ALPHA_ROWS = 65  # rows of the band that are looked at
# tags in this range may be values: one band may hold them, so all bands together must
POSSIBLE_VALUES = (0, 65535)
COLOURS = ("red", "green", "blue")
Pixels = tuple[np.ndarray, np.ndarray | None]


class SourceRaster:
    """An open raster of a user: bands without alpha, palette expanded, scale and offset applied.

    `bands` are the wanted ones, from 1, None all; they count as in the file, or with `by_colour`
    after red, green and blue are brought into this order, where the file names them in another. A
    `label` keeps the indices of its palette. Without `believe`, nodata tags, masks and transparency
    are not asked. With `upside_down`, rows are read from the last to the first. A label is also
    void where `valid_where`, another raster of its grid, holds no value. UserError for a file of
    several pages, and for pixels that are no numbers as they stand.
    """

    def __init__(
        self,
        dataset: Any,
        shown: str,
        bands: Sequence[int] | None = None,
        label: bool = False,
        believe: bool = True,
        by_colour: bool = True,
    ) -> None:
        """Look at what the header says, and at a few rows of what is called alpha."""
        self.dataset, self.shown, self.believe = dataset, shown, believe
        self.is_label, self.upside_down, self.has_voids = label, False, False
        self.valid_where: SourceRaster | None = None
        if dataset.subdatasets:
            pages = f"{shown} holds {len(dataset.subdatasets)} pages, of which one would be read"
            raise UserError(f"{pages}: save each as a file (gdal_translate GTIFF_DIR:1:<file>).")
        _check_values(dataset, shown)
        self.alpha = _find_alpha(dataset)
        if bands and max(bands) == dataset.count:
            self.alpha = 0  # asked for as a colour
        held = [band for band in dataset.indexes if band != self.alpha]
        if by_colour:
            held = _in_order_of_colours(dataset, held)
        self.palette, self._transparent = (None, None) if label else _read_palette(dataset)
        self.count = len(held) if self.palette is None else len(self.palette)
        self.bands = list(bands or range(1, self.count + 1))
        self._held = held
        if self.palette is None:
            self._held = [held[band - 1] for band in self.bands if band <= len(held)]
        names = [flag.name for flags in dataset.mask_flag_enums for flag in flags]
        self._flags = set(names)
        scales = [(dataset.scales[band - 1], dataset.offsets[band - 1]) for band in self._held]
        self._scales = None
        if not label and set(scales) != {(1.0, 0.0)}:
            self._scales = np.array(scales).T

    @property
    def dtypes(self) -> set[str]:
        """Types of the values that `read` returns."""
        if self._scales is not None:
            return {"float32"}
        if self.palette is not None:
            return {"uint8"}
        return {self.dataset.dtypes[band - 1] for band in self._held}

    @property
    def names(self) -> list[str]:
        """What the file calls its bands, "" where it does not."""
        return [self.dataset.descriptions[band - 1] or "" for band in self._held]

    @property
    def is_plain(self) -> bool:
        """Whether the pixels read so far are what the store's reader would find in the file."""
        if self.palette is not None or self._scales is not None or self.upside_down:
            return False
        if self._held != sorted(self._held):
            return False
        # that reader asks masks, believed or not, and nothing else
        masked = "per_dataset" in self._flags and "alpha" not in self._flags
        return not (self.has_voids or (masked and not self.believe))

    @property
    def dtype(self) -> str:
        """The type that holds the values of all bands."""
        return str(np.result_type(*self.dtypes))

    def read(self, row: int, col: int, height: int, width: int, kind: str = "") -> Pixels:
        """Read a window: `(C, h, w)`, and bool `(h, w)` where whole numbers say nothing, or None.

        Floating values are NaN where they are void. A void that `invalid_values` knows for the
        `kind` anyway stays as it is.
        """
        from rasterio.errors import RasterioError
        from rasterio.windows import Window

        top = self.dataset.height - row - height if self.upside_down else row
        window = Window(col, top, width, height)
        try:
            values = self.dataset.read(self._held, window=window)
            void = self._voids(values, window)
        except RasterioError as error:  # told apart here from failures of writing
            raise unreadable_error(self.shown, error) from error
        if self.palette is not None:
            values = self.palette[np.array(self.bands) - 1][:, values[0]]
        if self._scales is not None:
            scale, offset = self._scales[:, :, None, None]
            values = (values * scale + offset).astype(np.float32)
        if self.upside_down:
            values, void = values[:, ::-1], void[:, ::-1]
        if not self.is_label:
            void = np.logical_and(void, ~invalid_values(values, kind))
            self.has_voids |= bool(void.any())
            if values.dtype.kind == "f":
                return np.where(void, np.float32(np.nan), values) if void.any() else values, None
        void = np.asarray(void.any(axis=0))
        if self.valid_where is not None:
            void |= self.valid_where.find_void(row, col, height, width)
        return values, void if void.any() else None

    def find_void(self, row: int, col: int, height: int, width: int) -> np.ndarray:
        """Return where any band of a window holds no value, bool `(h, w)`."""
        values, void = self.read(row, col, height, width)
        found = np.asarray(invalid_values(values, "").any(axis=0))
        return found if void is None else found | void

    def _voids(self, values: np.ndarray, window: Any) -> np.ndarray:
        """Return where the file calls its bands void, `(C, h, w)`."""
        void = np.zeros(values.shape, bool)
        if not self.believe:
            return void
        if "nodata" in self._flags:
            void = self.dataset.read_masks(self._held, window=window) == 0
            tags = [self.dataset.nodatavals[band - 1] for band in self._held]
            low, high = POSSIBLE_VALUES
            if all(tag is not None and low <= tag <= high for tag in tags):
                void[:] = void.all(axis=0)
        elif not self._flags & {"all_valid", "alpha"}:
            void = self.dataset.read_masks(self._held, window=window) == 0
        if self.alpha:
            void |= self.dataset.read(self.alpha, window=window) == 0
        if self._transparent is not None:
            void |= self._transparent[values[0]]
        return void


def _check_values(dataset: Any, shown: str) -> None:
    """Raise UserError for complex numbers, scales without a meaning, and turned pictures."""
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise UserError(f"{shown} holds complex numbers: give amplitudes or decibels.")
    rules = np.array([dataset.scales, dataset.offsets])
    if not (np.isfinite(rules).all() and rules[0].all()):
        said = f"{shown} says that its values have the scale {dataset.scales[0]:g}"
        raise UserError(f"{said} and the offset {dataset.offsets[0]:g}: correct or remove them.")
    # cameras leave the turning of a picture to who shows it, and no label does
    turn = dataset.tags().get("EXIF_Orientation", "1")
    if turn not in ("0", "1"):
        said = f"{shown} is to be turned before it is shown (EXIF orientation {turn})"
        raise UserError(f"{said}: save it as it is seen (mogrify -auto-orient).")


def _in_order_of_colours(dataset: Any, held: list[int]) -> list[int]:
    """Bring the bands that are called red, green and blue into this order."""
    names = [dataset.colorinterp[band - 1].name for band in held]
    if any(names.count(colour) != 1 for colour in COLOURS):
        return held
    ordered, places = list(held), list(map(names.index, COLOURS))
    for place, found in zip(sorted(places), places, strict=True):
        ordered[place] = held[found]
    return ordered


def _find_alpha(dataset: Any) -> int:
    """Return the band that says where the raster is transparent, 0: none."""
    from rasterio.windows import Window

    kinds = [kind.name for kind in dataset.colorinterp]
    if dataset.count == 1 or "alpha" not in kinds:
        return 0
    band, width = kinds.index("alpha") + 1, dataset.width
    rows = np.unique(np.linspace(0, dataset.height - 1, ALPHA_ROWS).astype(int))
    looked = [dataset.read(band, window=Window(0, row, width, 1)) for row in rows.tolist()]
    values = np.concatenate(looked)
    between = (values > 0) & (values < values.max())
    # nor is a raster invisible everywhere
    return 0 if between.mean() > ALPHA_BETWEEN or not values.any() else band


def _read_palette(dataset: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the colours of a palette, uint8 `(1 or 3, n)`, and which of the n are transparent."""
    if dataset.count != 1 or dataset.colorinterp[0].name != "palette":
        return None, None
    table = np.zeros((np.iinfo(dataset.dtypes[0]).max + 1, 4), np.uint8)
    table[:, 3] = 255
    for value, colour in dataset.colormap(1).items():
        table[value] = colour
    colours = table[:, :3].T
    is_grey = (colours == colours[0]).all()
    transparent = table[:, 3] == 0
    return colours[:1] if is_grey else colours, transparent if transparent.any() else None
