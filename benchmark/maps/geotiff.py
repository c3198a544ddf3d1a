"""Write maps as cloud-optimised GeoTIFF, row by row."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio.shutil

from datamodules.processes import usable_cores
from datamodules.rasters.placement import Grid
from datamodules.rasters.raster_errors import check_written, explained_writing
from datamodules.store.part_files import part_of
from datamodules.store.scene_store import IGNORE, SceneClass
from usererror import UserError

TILE = 512
SCRATCH = ".predict"


class MapFiles:
    """The class map of a scene, and its probabilities where wanted, open for writing.

    Temporary files are in `folder`; `outputs` are the class ids of the probabilities; `tags` is
    what the map says of itself.
    """

    def __init__(
        self,
        folder: Path,
        grid: Grid,
        classes: Sequence[SceneClass],
        outputs: Sequence[int],
        probabilities: bool,
        tags: Mapping[str, str],
    ) -> None:
        self.folder, self.classes = folder, classes
        place = {"crs": grid.crs, "height": grid.height, "width": grid.width}
        if grid.transform is not None:
            place["transform"] = grid.transform
        self.map = _raw(folder / "map.raw.tif", count=1, dtype="uint8", nodata=IGNORE, **place)
        names = {entry.id: entry.name for entry in classes}
        self.map.write_colormap(1, {entry.id: (*entry.color, 255) for entry in classes})
        self.map.update_tags(**tags)
        self.map.update_tags(1, **{f"CLASS_{number}": name for number, name in names.items()})
        self.map.set_band_description(1, "class")
        # a band per class in a file of its own: viewers take a second band for colour
        self.probabilities = None
        if probabilities:
            place |= {"count": len(outputs), "dtype": "float32", "nodata": np.nan}
            self.probabilities = _raw(folder / "probabilities.raw.tif", **place)
            self.probabilities.update_tags(**tags)
            for band, number in enumerate(outputs, 1):
                self.probabilities.set_band_description(band, names[number])

    def write_strip(
        self, row: int, col: int, ids: np.ndarray, probabilities: np.ndarray | None = None
    ) -> None:
        """Write uint8 class ids `(h, w)` from (row, col) on, and `(K, h, w)` where wanted."""
        window = ((row, row + ids.shape[0]), (col, col + ids.shape[1]))
        self.map.write(ids, 1, window=window)
        if self.probabilities is not None:
            self.probabilities.write(probabilities, window=window)

    def close_files(self) -> None:
        """Close the files that are open."""
        for dataset in (self.map, self.probabilities):
            if dataset is not None:
                dataset.close()

    def publish(self, out: Path, second: Path) -> None:
        """Rewrite the files as cloud-optimised ones, check them, and give them their names."""
        self.close_files()
        whole = {out: _optimised(self.folder / "map", "mode")}
        if self.probabilities:
            whole[second] = _optimised(self.folder / "probabilities", "average")
        # the map itself gets its name last: who sees it finds the rest beside it
        sidecar = self.folder / "names.xml"
        sidecar.write_bytes(category_names(self.classes))
        os.replace(sidecar, out.with_name(out.name + ".aux.xml"))
        for name, temporary in reversed(whole.items()):
            os.replace(temporary, name)


@contextmanager
def open_maps(
    out: Path,
    grid: Grid,
    classes: Sequence[SceneClass],
    outputs: Sequence[int],
    probabilities: Path | None,
    tags: Mapping[str, str],
) -> Iterator[MapFiles]:
    """Write maps atomically: files appear only if the block succeeds."""
    if out.is_dir():
        raise UserError(f"{out} is a folder: name a file in it, e.g. {out / 'map.tif'}.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = part_of(out.with_name(SCRATCH))
        scratch.mkdir()
    except OSError as error:
        text = f"{out} cannot be written ({error.strerror}): name another place."
        raise UserError(text) from error
    # beside the map, so that renaming stays within one file system and is atomic
    try:
        with explained_writing(out):
            maps = MapFiles(scratch, grid, classes, outputs, probabilities is not None, tags)
            try:
                yield maps
                maps.publish(out, probabilities or out)
            finally:
                maps.close_files()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def category_names(classes: Sequence[SceneClass]) -> bytes:
    """Write GDAL's side file with the names of the classes, which a GIS shows as legend."""
    names = {entry.id: entry.name for entry in classes}
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    categories = ElementTree.SubElement(band, "CategoryNames")
    for number in range(max(names) + 1):
        ElementTree.SubElement(categories, "Category").text = names.get(number, "")
    ElementTree.indent(root)
    return ElementTree.tostring(root) + b"\n"


def _raw(path: Path, **profile: Any) -> Any:
    profile |= {"driver": "GTiff", "bigtiff": "if_safer", "interleave": "band"}
    return rasterio.open(path, "w", tiled=True, blockxsize=TILE, blockysize=TILE, **profile)


def _optimised(stem: Path, resampling: str) -> Path:
    """Make <stem>.tif, cloud-optimised, of <stem>.raw.tif, which is removed."""
    raw, target = stem.with_suffix(".raw.tif"), stem.with_suffix(".tif")
    options = {"blocksize": TILE, "compress": "deflate", "predictor": "yes", "bigtiff": "if_safer"}
    options["num_threads"] = usable_cores()
    rasterio.shutil.copy(raw, target, driver="COG", overview_resampling=resampling, **options)
    check_written(target)
    raw.unlink()
    return target
