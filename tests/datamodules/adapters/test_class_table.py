"""What a label may hold: ids with gaps, colours, equal bands, floats, values declared ignored."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.adapters.class_table import decode_colors
from datamodules.adapters.registry import import_named_dataset
from usererror import UserError

COLORS = np.array([[90, 90, 90], [200, 30, 30], [0, 110, 0]], np.uint8)


@pytest.fixture
def source(tmp_path, write_folder):
    write_folder(tmp_path / "source", splits=("train", "test"))
    return tmp_path / "source"


@pytest.fixture
def load_labels(tmp_path, source, write_raster, pixels):
    """Return a function that writes labels in some form and returns what the store holds."""

    def load(values, classes=None, **profile):
        if classes:
            (source / "classes.csv").write_text("id,name,r,g,b,ignore\n" + classes)
        for i in range(2):
            write_raster(source / f"label/s{i}.tif", values, **profile)
        store = import_named_dataset("mine", source, tmp_path / "store")
        return pixels(store.scenes[0].paths["label"])[0], store

    return load


def ids(seed=3):
    return np.random.default_rng(seed).integers(0, 3, (1, 40, 50), dtype=np.uint8)


FORMS = {
    "colours": lambda p: COLORS[p[0]].transpose(2, 0, 1),
    "colours and alpha": lambda p: np.concatenate(
        [COLORS[p[0]].transpose(2, 0, 1), np.full_like(p, 255)]
    ),
    "three equal bands": lambda p: np.repeat(p, 3, 0),
    "float32": lambda p: p.astype(np.float32),
    "int64": lambda p: p.astype(np.int64),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_one_label(form, load_labels):
    truth = ids()
    assert (load_labels(np.ascontiguousarray(FORMS[form](truth)))[0] == truth[0]).all()


def test_floats_with_nan_and_one_bit(load_labels):
    truth = ids()
    values = np.where(truth == 2, np.nan, truth.astype(np.float64))
    assert (load_labels(values)[0] == np.where(truth[0] == 2, 255, truth[0])).all()


def test_one_bit(load_labels):
    truth = (ids() == 1).astype(np.uint8)
    assert (load_labels(truth, nbits=1)[0] == truth[0]).all()


def test_255_is_a_class_where_the_user_lists_it(load_labels):
    truth = np.where(ids() > 0, 255, 0).astype(np.uint8)
    found, store = load_labels(truth, "0,ground,0,0,0,\n255,house,255,255,255,\n")
    assert [c.name for c in store.classes] == ["ground", "house"]
    assert (found == (truth[0] == 255)).all()


def test_a_value_declared_ignored_is_no_class(load_labels):
    truth = ids() + 1
    truth[0, :, :9] = 0
    classes = "0,no data,,,,1\n1,ground,1,1,1,\n2,house,2,2,2,\n3,tree,3,3,3,0\n"
    found, store = load_labels(truth, classes)
    assert [c.name for c in store.classes] == ["ground", "house", "tree"]
    assert (found == np.where(truth[0] == 0, 255, truth[0] - 1.0)).all()
    assert store.info["warnings"] == []


def test_zero_that_nobody_explained_is_asked_for(load_labels):
    truth = ids() + 1
    truth[0, :, :9] = 0
    with pytest.raises(UserError, match=r"label/s0\.tif.*18.00 %.*\(0, .*ignore"):
        load_labels(truth, "1,a,1,1,1,\n2,b,2,2,2,\n3,c,3,3,3,\n")


def test_ids_beyond_a_byte(load_labels):
    codes = np.array([111, 523, 312], np.uint16)
    found, _ = load_labels(codes[ids()], "111,a,1,1,1,\n523,b,2,2,2,\n312,c,3,3,3,\n")
    assert (found == np.array([0, 2, 1])[ids()[0]]).all()


def test_a_colour_of_two_classes_is_none(load_labels):
    """A label of ids needs no colours of its own; one of colours cannot be read by them."""
    classes = "0,a,9,9,9,\n1,b,9,9,9,\n2,c,7,0,0,\n"
    assert (load_labels(ids(), classes)[0] == ids()[0]).all()
    with pytest.raises(UserError, match="9, 9, 9.*list them in classes.csv"):
        load_labels(np.full((3, 40, 50), 9, np.uint8), classes)


def test_colours_against_a_plain_loop():
    draw = np.random.default_rng(0)
    values = draw.integers(0, 3, (3, 6, 7), dtype=np.uint8)
    colors = (((0, 1, 2), 4), ((2, 2, 0), 1))
    found, unknown = decode_colors(values, colors, ids=((0, 0), (1, 1), (2, 2)))
    for row, column in np.ndindex(6, 7):
        expected = dict(colors).get(tuple(values[:, row, column].tolist()))
        assert found[row, column] == (255 if expected is None else expected)
        assert unknown[row, column] == (expected is None)


def test_grey_is_no_id_where_it_is_the_colour_of_another_class(load_labels):
    truth = ids()
    classes = "0,a,1,1,1,\n1,b,0,0,0,\n2,c,2,2,2,\n"
    colors = np.array([1, 0, 2], np.uint8)
    assert (load_labels(np.repeat(colors[truth], 3, 0), classes)[0] == truth[0]).all()


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_a_label_whose_compression_changes_values_is_refused(suffix, load_labels, source):
    """Ids between two classes are other classes, so that no share of unknown values tells."""
    profile = {"driver": "JPEG"} if suffix == "jpg" else {"compress": "JPEG"}
    with pytest.raises(UserError, match=r"label/s0\.tif: its compression changes values: save"):
        load_labels(ids(), **profile)


def test_a_palette_that_contradicts_the_classes_is_asked_for(tmp_path, source, pixels):
    import rasterio

    truth = ids()
    for order, wrong in (([0, 1, 2], False), ([2, 0, 1], True)):
        for i in range(2):
            profile = {"driver": "GTiff", "count": 1, "height": 40, "width": 50, "dtype": "uint8"}
            with rasterio.open(source / f"label/s{i}.tif", "w", **profile) as dataset:
                dataset.write(truth)
                palette = {v: (*COLORS[c].tolist(), 255) for v, c in enumerate(order)}
                dataset.write_colormap(1, palette)
        if not wrong:
            store = import_named_dataset("mine", source, tmp_path / "store")
            assert (pixels(store.scenes[0].paths["label"]) == truth).all()
            continue
        with pytest.raises(UserError, match=r"palette paints the value 0 as .*\(0, 110, 0\)"):
            import_named_dataset("mine", source, tmp_path / "store")
