"""Logits of images in memory, as a trained run would give them for files."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.evaluation.divergence import check_logits
from benchmark.evaluation.inference import require_seen
from benchmark.experiment.restore import TrainedRun
from datamodules.loading.inference_rasters import ModalitySpec
from datamodules.store.statistics import RasterStatistics
from usererror import UserError


def predict_images(trained: TrainedRun, images: Mapping[str, Any]) -> Tensor:
    """Predict logits `(B, K, H, W)` from any non-empty subset of a run's modalities.

    Args:
        trained: a run, see `load_trained_run`.
        images: arrays or tensors `(B, C, H, W)` by modality, in the units of the training data
            (counts, metres, linear backscatter); each image is normalised as a raster of its own.
            What no sensor can have measured, NaN included, is filled as in files.

    Returns:
        float32 on the network's device; column k is class `trained.inputs.outputs[k]`.

    Raises:
        UserError: an unknown modality, none at all or none that the network sees, other sizes or
            bands, no valid pixel.
    """
    specs = trained.inputs.modalities
    if not images or not set(images) <= set(specs):
        known = ", ".join(specs)
        raise UserError(f"Give images of at least one of {known}, not of {list(images)}.")
    require_seen(trained.model, list(images))
    given = {name: np.asarray(images[name]) for name in specs if name in images}
    first = next(iter(given.values())).shape
    for name, pixels in given.items():
        channels = specs[name].modality.channels
        if pixels.ndim != 4 or pixels.shape != (first[0], channels, *first[2:]):
            expected = f"(B, {channels}, H, W), B, H and W alike"
            raise UserError(f"Images of {name} are {pixels.shape}, expected {expected}.")
    device = trained.model.device
    batch = {}
    for name, pixels in given.items():
        scaled = np.stack([normalize_image(image, specs[name], name) for image in pixels])
        batch[name] = torch.from_numpy(scaled).to(device, memory_format=torch.channels_last)
    with torch.inference_mode():
        logits = trained.model(batch).float()
    check_logits(logits)
    return logits


def normalize_image(image: np.ndarray, spec: ModalitySpec, name: str) -> np.ndarray:
    """Return one image `(C, H, W)` of a modality as its network takes it, float32."""
    known = spec.modality
    (channels, height, width), dtype = image.shape, known.dtype
    found = RasterStatistics(channels, dtype, height, width, known.kind, known.clip_db)
    found.update(image.astype(dtype, copy=False))
    statistics = found.result()
    if not statistics["count"]:
        raise UserError(f"An image of {name} has no valid pixel.")
    normalizer = spec.normalizer_for(statistics, name)
    valid = normalizer.to_valid(image.astype(np.float32), name)
    return normalizer.standardize(valid, name).astype(np.float32)
