"""What stops the writing of rasters, as one line."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from datamodules.rasters.raster_file import check_intact, one_line
from usererror import UserError

# some functions of rasterio let GDAL's own errors through
GDAL_ERRORS = (RasterioError, CPLE_BaseError)


def check_written(path: Path) -> None:
    """Raise OSError where a full disk has left a short file without an error of GDAL."""
    try:
        check_intact(path, path.name, sparse=False)
    except UserError as error:
        raise OSError(f"{path.name} is shorter than what was written") from error


@contextmanager
def explained_writing(target: Path) -> Iterator[None]:
    """Say in one line that a file or folder was not written whole, and what room there is."""
    try:
        yield
    except (OSError, *GDAL_ERRORS) as error:
        place = next(folder for folder in target.absolute().parents if folder.is_dir())
        free = shutil.disk_usage(place).free / 1e6
        text = f"{target} could not be written whole ({one_line(error)}; {free:.0f} MB free)"
        raise UserError(f"{text}: make room or name another place.") from error
