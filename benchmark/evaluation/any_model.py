"""Scores of every subset for any model that maps images by modality to logits."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmark.metrics.confusion import Absent, Convention, score_matrices
from benchmark.metrics.subsets import modality_subsets, subset_name
from datamodules.store.scene_store import IGNORE
from methods.base import AnyModalitySegmenter

Model = Callable[[dict[str, Tensor]], Tensor]


def score_subsets(
    model: Model,
    batches: Iterable[Mapping[str, Any]],
    letters: Mapping[str, str],
    classes: int,
    ignore_index: int = IGNORE,
    absent: Absent = "exclude",
) -> pd.DataFrame:
    """Score a model on every non-empty subset of its modalities.

    Args:
        model: maps {modality: `(B, C, H, W)`} to logits `(B, K, H, W)`, K = `classes`; call
            `eval()` before, and move batches to its device.
        batches: dictionaries with `image` ({modality: images}) and `mask` `(B, H, W)`, each pixel
            in one batch only; a subset is scored on the batches that have its modalities, unless
            the model is an `AnyModalitySegmenter` that sees nothing of it.
        letters: letter of each modality in the names of subsets, in table order.
        absent: what a class without evidence counts, see `benchmark.metrics.Convention`.

    Returns:
        A row per subset: mIoU, mF1 and OA in per cent, images, IoU per class (columns 0 to K - 1).

    Example:
        >>> truth = torch.tensor([[[0, 1], [1, 255]]])
        >>> batch = {"image": {"rgb": torch.zeros(1, 3, 2, 2)}, "mask": truth}
        >>> def always_one(images):
        ...     return torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
        >>> table = score_subsets(always_one, [batch], {"rgb": "R"}, classes=2)
        >>> round(float(table.loc["R", "OA"]), 2)
        66.67
    """
    subsets = modality_subsets(list(letters))
    counts = np.zeros((len(subsets), classes, classes), np.int64)
    images = np.zeros(len(subsets), np.int64)
    with torch.inference_mode():
        for batch in batches:
            mask = torch.as_tensor(batch["mask"])
            labelled = mask != ignore_index
            for place, subset in enumerate(subsets):
                if not set(subset) <= set(batch["image"]):
                    continue
                if isinstance(model, AnyModalitySegmenter) and not model.sees(subset):
                    continue
                logits = model({name: batch["image"][name] for name in subset})
                cells = classes * mask + logits.argmax(1).to(mask.device)
                found = torch.bincount(cells[labelled].long(), minlength=classes**2)
                counts[place] += found.reshape(classes, classes).cpu().numpy()
                images[place] += len(mask)
    labels = tuple(range(classes))
    rows = {}
    scores = score_matrices(counts, Convention(labels, labels, absent=absent))
    for subset, entry, number in zip(subsets, scores, images, strict=True):
        line: dict[Any, float] = {"mIoU": 100 * entry.miou, "mF1": 100 * entry.mf1}
        line |= {"OA": 100 * entry.oa, "images": int(number)}
        line |= {label: 100 * entry.iou[label] for label in labels}
        rows[subset_name(subset, letters)] = line
    return pd.DataFrame.from_dict(rows, orient="index")
