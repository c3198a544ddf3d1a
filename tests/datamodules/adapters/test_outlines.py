from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.adapters.coco_masks import Outlines, rasterize_outlines, read_outlines
from datamodules.ingest.sources import SourceFile
from usererror import UserError

REAL = (
    Path(__file__).parents[4]
    / "shared"
    / "samples"
    / "dfc2023"
    / "buildings_only_train_excerpt.json"
)
Read = Callable[..., dict[str, Outlines]]


def coco(*segmentations: Any, size: tuple[int, int] = (12, 16)) -> dict[str, Any]:
    """A file of one image `a.tif` with one record per segmentation."""
    return {
        "images": [{"file_name": "a.tif", "height": size[0], "width": size[1], "id": 7}],
        "annotations": [
            {"segmentation": s, "image_id": 7, "id": 100 + i} for i, s in enumerate(segmentations)
        ],
        "categories": [{"supercategory": "building", "id": 1, "name": "building"}],
    }


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(content: Any) -> dict[str, Outlines]:
        path = tmp_path / "buildings_only_train.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_outlines(SourceFile.on_disk(path, path.name), tmp_path / "scratch")

    return read


def mask_of(outlines: Outlines) -> np.ndarray:
    mask, unknown = rasterize_outlines(outlines, np.zeros((1, *outlines.size), np.uint8))
    assert mask.dtype == np.uint8 and unknown.shape == mask.shape and not unknown.any()
    return mask


def drawn(read: Read, *segmentations: Any, size: tuple[int, int] = (12, 16)) -> np.ndarray:
    return mask_of(read(coco(*segmentations, size=size))["a.tif"])


# The real records -------------------------------------------------------------


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    if not REAL.is_file():
        pytest.skip("the real records are not here")
    return json.loads(REAL.read_text())


def test_real_records_have_their_stored_area(content: dict[str, Any], read: Read) -> None:
    records = content["annotations"]
    images = [
        {"file_name": f"{i}.tif", "height": 512, "width": 512, "id": i} for i in range(len(records))
    ]
    alone = [{**record, "image_id": i} for i, record in enumerate(records)]
    outlines = read({"images": images, "annotations": alone, "categories": content["categories"]})
    masks = [mask_of(outlines[f"{i}.tif"]) for i in range(len(records))]
    areas = np.array([record["area"] for record in records])
    counted = np.array([int(mask.sum()) for mask in masks])
    assert len(records) == 945
    # dossier 5.4 allows 0.14 % of all pixels; the fill used here is exact
    assert abs(counted - areas).sum() <= 0.0014 * areas.sum()
    assert (counted == areas).all()

    def box(mask: np.ndarray) -> list[int]:
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        return [columns[0], rows[0], columns[-1] - columns[0], rows[-1] - rows[0]]

    codes = [
        (r["bbox"], m)
        for r, m in zip(records, masks, strict=True)
        if isinstance(r["segmentation"], dict)
    ]
    assert len(codes) == 4
    for expected, mask in codes:
        assert box(mask) == expected
        assert box(mask.T) != expected, "decoded by rows it would be transposed"


def test_real_union_is_near_that_of_another_rasteriser(content: dict[str, Any], read: Read) -> None:
    """Dossier 12.3: polygon and closed line burnt by GDAL with the grid moved by half a pixel."""
    from affine import Affine
    from rasterio.features import rasterize

    outlines = read(content)
    assert len(outlines) == 32
    total = differing = 0
    for image in content["images"]:
        rings = [
            list(zip(ring[::2], ring[1::2], strict=True))
            for record in content["annotations"]
            if record["image_id"] == image["id"] and isinstance(record["segmentation"], list)
            for ring in record["segmentation"]
        ]
        shapes = [({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, 1) for ring in rings]
        shapes += [({"type": "LineString", "coordinates": [*ring, ring[0]]}, 1) for ring in rings]
        other = rasterize(
            shapes, out_shape=(512, 512), transform=Affine(1, 0, -0.5, 0, 1, -0.5), dtype="uint8"
        )
        packed = outlines[image["file_name"]]
        ours = mask_of(Outlines(packed.where, packed.size, packed.rings))
        total += int(other.sum())
        differing += int((ours != other).sum())
    assert total > 1e6 and differing <= 0.0014 * total


# Rings ------------------------------------------------------------------------


def brute(ring: list[tuple[int, int]], size: tuple[int, int]) -> np.ndarray:
    """Even-odd rule pixel by pixel, and the line walk with an error term from the left end."""
    mask = np.zeros(size, np.uint8)
    edges = list(zip(ring, ring[1:] + ring[:1], strict=True))
    for y in range(size[0]):
        for x in range(size[1]):
            odd = False
            for (ax, ay), (bx, by) in edges:
                if (ay <= y) != (by <= y) and (x - ax) * (by - ay) * (1 if by > ay else -1) >= (
                    bx - ax
                ) * (y - ay) * (1 if by > ay else -1):
                    odd = not odd
            mask[y, x] = odd
    for (ax, ay), (bx, by) in edges:
        if ax > bx:
            ax, ay, bx, by = bx, by, ax, ay
        long, short, sign = bx - ax, abs(by - ay), 1 if by > ay else -1
        steep = short > long
        long, short = max(long, short), min(long, short)
        error, x, y = long - 2 * short, ax, ay
        for _ in range(long + 1):
            if 0 <= x < size[1] and 0 <= y < size[0]:
                mask[y, x] = 1
            aside = error < 0
            error += 2 * (long if aside else 0) - 2 * short
            x, y = (x + aside, y + sign) if steep else (x + 1, y + sign * aside)
    return mask


def flat(ring: list[tuple[int, int]]) -> list[int]:
    return [value for point in ring for value in point]


@pytest.mark.parametrize("beyond", [0, 6])
def test_random_rings_against_brute_force(beyond: int, read: Read) -> None:
    """Crossing, touching and degenerate ones; with `beyond`, corners outside of the image."""
    rng = np.random.default_rng(beyond)
    size = (12, 16)
    for number in range(60):
        ring = rng.integers((-beyond, -beyond), (16 + beyond, 12 + beyond), (1 + number % 9, 2))
        points = [(int(x), int(y)) for x, y in ring]
        expected = brute(points, size)
        np.testing.assert_array_equal(drawn(read, [flat(points)]), expected, err_msg=str(points))
        np.testing.assert_array_equal(drawn(read, [flat([*points, points[0]])]), expected)
        np.testing.assert_array_equal(drawn(read, [flat(points[::-1])]), expected)


def test_outline_is_inside() -> None:
    square = Outlines("x", (6, 6), [np.array([[1, 1], [4, 1], [4, 4], [1, 4]], np.int32)])
    expected = np.zeros((6, 6), np.uint8)
    expected[1:5, 1:5] = 1  # 16 pixels; without its outline it would have 9
    np.testing.assert_array_equal(mask_of(square), expected)


def test_points_lines_and_empty_rings(read: Read) -> None:
    assert drawn(read, [[3, 2]]).sum() == 1
    assert drawn(read, [[3, 2, 3, 2]]).sum() == 1
    assert drawn(read, [[3, 2, 8, 2]])[2, 3:9].all() and drawn(read, [[3, 2, 8, 2]]).sum() == 6
    assert drawn(read, [[]]).sum() == drawn(read, []).sum() == drawn(read).sum() == 0
    assert (
        drawn(read, [[2.0, 1.0, 5.0, 1.0, 5.0, 3.0]]).sum()
        == drawn(read, [[2, 1, 5, 1, 5, 3]]).sum()
    )


def test_parts_and_overlaps_are_united(read: Read) -> None:
    a, b = [1, 1, 6, 1, 6, 6, 1, 6], [4, 4, 9, 4, 9, 9, 4, 9]
    inner = [2, 2, 5, 2, 5, 5, 2, 5]  # a second ring is a part, never a hole
    single = drawn(read, [a]) | drawn(read, [b])
    assert single.max() == 1 and single.sum() == 36 + 36 - 9
    np.testing.assert_array_equal(drawn(read, [a, b]), single)
    np.testing.assert_array_equal(drawn(read, [a], [b]), single)
    np.testing.assert_array_equal(drawn(read, [a, inner]), drawn(read, [a]))


# Run-length codes -------------------------------------------------------------


@pytest.mark.parametrize("counts", [[1, 2, 1, 1, 1], "121O0"])
def test_codes_count_down_the_columns(counts: Any, read: Read) -> None:
    mask = drawn(read, {"size": [2, 3], "counts": counts}, size=(2, 3))
    np.testing.assert_array_equal(mask, [[0, 1, 1], [1, 0, 0]])


def test_long_runs_and_negative_differences(read: Read) -> None:
    # 40 = 8 + 32: bits 01000 (more follow), 00001; 3; 20 = 10100 has bit 16, so 00000 follows;
    # then 5 - 3, 12 - 20 = -8
    text = "".join(chr(48 + v) for v in (8 + 32, 1, 3, 20 + 32, 0, 2, 24))
    mask = drawn(read, {"size": [8, 10], "counts": text}, size=(8, 10))
    flat_mask = mask.T.ravel()
    np.testing.assert_array_equal(np.flatnonzero(flat_mask), [40, 41, 42, *range(63, 68)])


# Files ------------------------------------------------------------------------


def broken(change: Callable[[dict[str, Any]], Any]) -> Any:
    content = coco([[1, 1, 5, 1, 5, 5]], {"size": [12, 16], "counts": [192]})
    return change(content) or content


def record(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["annotations"][1].update(values)


def image(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["images"][0].update(values)


def without(part: str, key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[part][-1].pop(key) and None


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "cut short": (lambda c: json.dumps(c)[:-40], "Invalid JSON"),
    "not JSON": (lambda c: "PK\x03\x04", "Invalid JSON"),
    "not a number": (lambda c: json.dumps(c).replace("192", "NaN"), "annotations.1.*counts"),
    "deep": (lambda c: "[" * 100_000, "Invalid JSON"),
    "a list": (lambda c: [c], "images|annotations|an object"),
    "no annotations": (lambda c: {"images": c["images"]}, "images|annotations|an object"),
    "images no list": (lambda c: {**c, "images": {}}, "images|annotations|an object"),
    "other categories": (lambda c: {**c, "categories": [{"name": ["flat_roof"]}]}, "categories.0"),
    "categories no list": (lambda c: {**c, "categories": 3}, "categories"),
    "image no object": (lambda c: {**c, "images": ["a.tif"]}, "images.0: Input"),
    "image without name": (without("images", "file_name"), "images.0.file_name: Field required"),
    "image without size": (without("images", "height"), "images.0.height: Field required"),
    "image id text": (image(id="7"), "images.0.id: .*integer, not '7'"),
    "image size zero": (image(width=0), "images.0.width: .*greater than 0"),
    "image size huge": (image(width=10**9), "images.0.width: .*less than"),
    "image twice": (
        lambda c: {**c, "images": [*c["images"], {**c["images"][0], "id": 8}]},
        "images.1 .a.tif, id 8",
    ),
    "image id twice": (
        lambda c: {**c, "images": [*c["images"], {**c["images"][0], "file_name": "b"}]},
        "images.1 .b",
    ),
    "no record": (lambda c: {**c, "annotations": [None]}, "annotations.0: Input"),
    "record without image": (
        without("annotations", "image_id"),
        r"annotations.1.image_id: Field required",
    ),
    "record without shape": (
        without("annotations", "segmentation"),
        "annotations.1.segmentation: Field required",
    ),
    "record of no image": (record(image_id=8), "101. is of image 8"),
    "image id true": (record(image_id=True), "annotations.1.image_id: .*not True"),
    "shape no list": (record(segmentation="x"), "annotations.1.segmentation"),
    "shape of numbers": (record(segmentation=[1, 2, 3, 4]), "annotations.1.segmentation"),
    "odd ring": (record(segmentation=[[1, 2, 3]]), "101.: a ring must be"),
    "ring of text": (record(segmentation=[["1", "2"]]), "annotations.1.segmentation"),
    "ring of null": (record(segmentation=[[1, None]]), "annotations.1.segmentation"),
    "far away": (record(segmentation=[[1, 2, 10**12, 3]]), "101.: a corner lies far outside"),
    "far away the other way": (
        record(segmentation=[[1, 2, -1e300, 3]]),
        "101.: a corner lies far outside",
    ),
    "code of other size": (
        record(segmentation={"size": [16, 12], "counts": [192]}),
        "101.: its code is for .16, 12.",
    ),
    "code without counts": (
        record(segmentation={"size": [12, 16]}),
        "annotations.1.segmentation.*counts: Field required",
    ),
    "code too short": (record(segmentation={"size": [12, 16], "counts": [100]}), "101.: the runs"),
    "code negative": (
        record(segmentation={"size": [12, 16], "counts": [-8, 200]}),
        "101.: the runs",
    ),
    "code empty": (record(segmentation={"size": [12, 16], "counts": ""}), "101.: the runs"),
    "code of floats": (
        record(segmentation={"size": [12, 16], "counts": [192.0]}),
        "annotations.1.*counts",
    ),
    "code of strange letters": (
        record(segmentation={"size": [12, 16], "counts": "\x01z"}),
        "101.: the runs of its code",
    ),
    "code cut short": (
        record(segmentation={"size": [12, 16], "counts": "P"}),
        "101.: the runs of its code",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_is_one_line_with_its_name(name: str, read: Read) -> None:
    change, text = BROKEN[name]
    with pytest.raises(UserError, match=text) as caught:
        read(broken(change))
    assert "buildings_only_train.json" in str(caught.value) and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_image_of_another_size_is_refused(read: Read) -> None:
    outlines = read(coco([[1, 1, 5, 1, 5, 5]]))["a.tif"]
    with pytest.raises(
        UserError, match=r"json: a\.tif is said to have 12 x 16 .*, but the image has 16 x 12"
    ):
        rasterize_outlines(outlines, np.zeros((3, 16, 12), np.uint8))


def test_images_may_be_named_with_folders_and_lack_records(read: Read) -> None:
    content = coco()
    content["images"][0]["file_name"] = "train\\rgb/SV_Rio_-22.9_-43.2.tif"
    assert mask_of(read(content)["SV_Rio_-22.9_-43.2.tif"]).sum() == 0


def test_text_form_tells_masks_apart_and_travels(read: Read) -> None:
    shapes: list[list[Any]] = [
        [[[1, 1, 5, 1, 5, 5]]], [[[1, 1, 5, 1, 5, 4]]], [[[1, 1, 5, 1], [5, 5]]], [],
        [{"size": [12, 16], "counts": [2, 190]}], [{"size": [12, 16], "counts": [1, 191]}],
    ]  # fmt: skip
    outlines = [read(coco(*shape))["a.tif"] for shape in shapes]
    texts = [repr(o) for o in outlines]
    assert len(set(texts)) == len(texts) and max(map(len, texts)) < 100
    assert [repr(pickle.loads(pickle.dumps(o))) for o in outlines] == texts
    assert repr(read(coco(*shapes[0], size=(12, 17)))["a.tif"]) not in texts
