"""Map GeoTIFFs with an exported network: numpy, rasterio and onnxruntime, nothing of the suite.

    python map_geotiff.py model.onnx map.tif rgb=ortho.tif nir=ortho.tif:4

Windows overlap by half and are blended as `imss predict` does.
"""

import json
import sys

import numpy as np
import onnxruntime
import rasterio


def read(word: str) -> tuple[np.ndarray, dict]:
    """Read `file` or `file:band,band` as (C, H, W), NaN where the file has no value."""
    path, _, bands = word.rpartition(":")
    if not bands.replace(",", "").isdigit():
        path, bands = word, ""
    with rasterio.open(path) as file:
        chosen = [int(band) for band in bands.split(",")] if bands else file.indexes
        values = file.read(chosen).astype(np.float32)
        values[:, file.read_masks(chosen).min(0) == 0] = np.nan
        return values, file.profile


def normalize(values: np.ndarray, told: dict) -> np.ndarray:
    """Scale (C, H, W) as in training; what says nothing becomes the 5th percentile."""
    if told["kind"] == "sar_linear":
        low, high = np.array(told.get("clip_db") or [(-25, 0)]).T[:, :, None, None]
        values = np.clip(10 * np.log10(np.maximum(values, 0) + 1e-7), low, high)
    if told["kind"].startswith("height"):
        values = np.where((values < -100) | (values > 9000), np.nan, values)
    p05 = np.nanpercentile(values, 5, axis=(1, 2), method="inverted_cdf")[:, None, None]
    values = np.where(np.isnan(values), p05, values)
    offset, span = (p05[0], 1) if told["lowered"] else (0, 1)
    if told.get("ranged"):
        offset, span = values.min(), np.ptp(values) or 1
    mean, std = (np.array(told[key]).reshape(-1, 1, 1) for key in ("mean", "std"))
    return ((values - offset - mean) / std / span).astype(np.float32)


def starts(length: int, window: int) -> list[int]:
    """Return where windows begin: every half window, the last one at the end."""
    return sorted({*range(0, max(length - window, 0), window // 2), max(length - window, 0)})


def main(model: str, out: str, *inputs: str) -> None:
    """Write the map of some rasters."""
    session = onnxruntime.InferenceSession(model)
    told = json.loads(session.get_modelmeta().custom_metadata_map["imss"])
    images, profile = {}, {}
    for name, word in (text.split("=", 1) for text in inputs):
        values, profile = read(word)
        images[name] = normalize(values, told["modalities"][name])
    window = told["window"]
    height, width = next(iter(images.values())).shape[1:]
    # a scene that is smaller than a window is mirrored
    pad = [(0, 0), (0, max(window - height, 0)), (0, max(window - width, 0))]
    images = {name: np.pad(values, pad, "symmetric") for name, values in images.items()}
    steps, rim = np.arange(1, window + 1), max(window // 8, 1)
    near = np.minimum(steps, steps[::-1]).clip(max=rim)
    sums = np.zeros((len(told["outputs"]), *next(iter(images.values())).shape[1:]))
    for row in starts(height, window):
        for col in starts(width, window):
            here = np.s_[:, row : row + window, col : col + window]
            logits = session.run(None, {name: x[here][None] for name, x in images.items()})[0][0]
            if told["stitching"] == "probabilities":
                logits = np.exp(logits - logits.max(0))
                logits /= logits.sum(0)
            sums[here] += logits * near[:, None] * near
    ids = np.array(told["outputs"], np.uint8)[sums[:, :height, :width].argmax(0)]
    place = {key: profile[key] for key in ("height", "width", "crs", "transform")}
    form = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(out, "w", **form, **place) as file:
        file.write(ids, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
