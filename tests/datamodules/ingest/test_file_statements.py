"""What an import makes of statements of files that concern labels, and of files beside a raster."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from datamodules.adapters.registry import import_named_dataset
from usererror import UserError


def counts(store):
    return store.statistics["s0"]["label"]["counts"]


def test_a_label_is_void_where_it_is_masked_or_its_nodata_is_no_class(
    tmp_path, write_folder, write_raster
):
    source = tmp_path / "source"
    label = write_folder(source)["s0"]["label"]
    plain = counts(import_named_dataset("mine", source, tmp_path / "plain"))
    # 0 is a class of the table: the tag is wrong, and the store says so
    write_raster(source / "label/s0.tif", label, nodata=0)
    store = import_named_dataset("mine", source, tmp_path / "tagged")
    assert counts(store) == plain
    assert any("nodata value 0 is a class" in line for line in store.info["warnings"])
    # 77 is none, and a third of the pixels: without the tag this is no label
    label[:, :, :17] = 77
    write_raster(source / "label/s0.tif", label)
    with pytest.raises(UserError, match="no class"):
        import_named_dataset("mine", source, tmp_path / "untagged")
    write_raster(source / "label/s0.tif", label, nodata=77)
    void = counts(import_named_dataset("mine", source, tmp_path / "void"))
    assert void["255"] == 40 * 17
    label[:, :, :17] = 1
    write_raster(source / "label/s0.tif", label)
    inside = rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True)
    with inside, rasterio.open(source / "label/s0.tif", "r+") as file:
        valid = np.full((40, 50), 255, np.uint8)
        valid[:, :17] = 0
        file.write_mask(valid)
    assert counts(import_named_dataset("mine", source, tmp_path / "masked")) == void


def test_bands_of_two_scenes_in_another_order_are_refused(tmp_path, write_folder):
    source = tmp_path / "source"
    write_folder(source)
    plain = import_named_dataset("mine", source, tmp_path / "plain")
    names = {"s0": ("B4", "B3", "B2"), "s1": ("B4", "B3", "B2"), "s2": ("one", "two", "two")}
    for scene in names:
        with rasterio.open(source / f"rgb/{scene}.tif", "r+") as file:
            file.descriptions = names[scene]
    store = import_named_dataset("mine", source, tmp_path / "named")
    assert store.fingerprint == plain.fingerprint
    with rasterio.open(source / "rgb/s1.tif", "r+") as file:
        file.descriptions = ("B2", "B3", "B4")
    with pytest.raises(UserError, match=r"rgb/s1\.tif has the bands B2, B3, B4, .*s0\.tif B4"):
        import_named_dataset("mine", source, tmp_path / "swapped")


def test_a_mask_file_that_is_no_tiff_changes_nothing_and_is_named(tmp_path, write_folder):
    source = tmp_path / "source"
    write_folder(source)
    plain = import_named_dataset("mine", source, tmp_path / "plain")
    (source / "rgb/s0.tif.msk").write_text(
        '<VRTDataset rasterXSize="50" rasterYSize="40"><VRTRasterBand dataType="Byte" band="1">'
        "<SimpleSource><SourceFilename>/vsicurl/http://127.0.0.1:9/mask.tif</SourceFilename>"
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    store = import_named_dataset("mine", source, tmp_path / "masked")
    assert store.fingerprint == plain.fingerprint
    assert any("s0.tif.msk is no TIFF and was not read" in x for x in store.info["warnings"])


def test_most_values_outside_of_the_kind_are_another_kind(tmp_path, write_folder, write_raster):
    """Millimetres in a column of metres; a fill of any extent is no such mistake."""
    source = tmp_path / "source"
    heights = write_folder(source)["s0"]["dsm"]
    write_raster(source / "dsm/s0.tif", heights * 1000)
    with pytest.raises(UserError, match=r"dsm/s0\.tif: most of its values.*about\.json"):
        import_named_dataset("mine", source, tmp_path / "wrong")
    heights[:, :30] = -9999
    write_raster(source / "dsm/s0.tif", heights)
    store = import_named_dataset("mine", source, tmp_path / "filled")
    assert store.statistics["s0"]["dsm"]["count"] == 10 * 50
