"""MCRM: mask rectangles of single modalities, and learn what the fused prediction gets wrong.

Paper section III-D (eq. 22-28), dossier 3.5. Everything happens on the images' device, without a
copy to the host.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

AREA, ASPECT = (0.1, 0.3), (0.5, 2.0)


def masked_counts(batch: int, streams: int, ratio: float = 0.25) -> list[int]:
    """Count the samples of a batch that lose a rectangle in each stream; the last get the rest."""
    # the released split: for two streams n // 2 and n - n // 2
    chosen = int(ratio * batch)
    return [chosen // streams + (stream >= streams - chosen % streams) for stream in range(streams)]


def choose_streams(
    batch: int, streams: int, ratio: float, released: bool, device: torch.device
) -> Tensor:
    """Choose the stream in which each sample is masked: int64 (B,), -1 for none."""
    numbers: list[int] = []
    for stream, count in enumerate(masked_counts(batch, streams, ratio)):
        numbers += [stream] * count
    # shuffled, so that no place of the batch is masked more often
    plan = torch.tensor(numbers + [-1] * (batch - len(numbers)), device=device)
    # released: what cannot be shared out evenly is masked in the last streams; here chance decides,
    # so that in the long run all are masked alike
    if not released:
        order = torch.rand(streams, device=device).argsort()
        plan = torch.where(plan < 0, plan, order[plan.clamp(min=0)])
    return plan[torch.rand(batch, device=device).argsort()]


def draw_rectangles(batch: int, size: Sequence[int], device: torch.device) -> Tensor:
    """Draw a rectangle per sample, bool (B, H, W): area U(0.1, 0.3), width / height U(0.5, 2)."""
    height, width = size
    draw = torch.rand(4, batch, device=device)
    area = (AREA[0] + (AREA[1] - AREA[0]) * draw[0]) * (height * width)
    aspect = ASPECT[0] + (ASPECT[1] - ASPECT[0]) * draw[1]
    # sides that an elongated image does not hold are cut
    tall = (area / aspect).sqrt().round().clamp(max=height)
    wide = (area * aspect).sqrt().round().clamp(max=width)
    top = (draw[2] * (height - tall + 1)).floor()
    left = (draw[3] * (width - wide + 1)).floor()
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    inside_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    return inside_rows[:, :, None] & inside_columns[:, None, :]


def mask_regions(
    images: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    ratio: float = 0.25,
    released: bool = False,
) -> dict[str, Tensor]:
    """Zero a rectangle of one modality in some samples; images (B, C, H, W) of one size."""
    first = next(iter(images.values()))
    plan = choose_streams(len(first), len(images), ratio, released, first.device)
    inside = draw_rectangles(len(first), (first.shape[-2], first.shape[-1]), first.device)
    # a sample with one modality keeps all of it
    spare = torch.stack([present[m] for m in images]).sum(0) > 1
    masked = {}
    for stream, (m, image) in enumerate(images.items()):
        hit = inside & ((plan == stream) & spare)[:, None, None]
        masked[m] = image.masked_fill(hit[:, None], 0.0)
    return masked


def hard_pixels(logits: Tensor, mask: Tensor, ignore_index: int = 255) -> Tensor:
    """Ignore every pixel that the logits get right (eq. 26); no gradient passes."""
    return mask.masked_fill(logits.detach().argmax(1) == mask, ignore_index)
