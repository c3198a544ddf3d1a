"""What scoring one window costs: counted on a module without values, timed on one with."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark.evaluation.inference import decode_subset
from benchmark.metrics.subsets import modality_subsets
from benchmark.profiling.complexity import (
    count_elements,
    count_trainable,
    evaluation_gmac,
    frozen_buffers,
    parameters_in_graph,
)
from usererror import UserError

if TYPE_CHECKING:
    from methods.base import AnyModalitySegmenter

Subset = tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """Counts of one method; multiply-accumulates in 1e9 for one window, batch 1."""

    total: int  # parameters, frozen weights included
    trainable: int  # those that training changes
    inference: int  # those that the logits of any subset are made from
    encode: dict[str, float]  # multiply-accumulates by modality
    decode: dict[Subset, float]  # by subset that the method sees, of what is encoded

    def subset_gmac(self, subset: Subset) -> float:
        """Multiply-accumulates of encoding a subset and decoding it."""
        return sum(map(self.encode.__getitem__, subset)) + self.decode[subset]

    @property
    def all_subsets_gmac(self) -> float:
        """Multiply-accumulates of all these subsets, each modality encoded once."""
        return sum(self.encode.values()) + sum(self.decode.values())


@dataclass(frozen=True)
class Timing:
    """Milliseconds for one window, and where."""

    full_ms: float  # full set
    every_ms: float  # all subsets, each image encoded once
    memory: float | None  # its peak in MiB, None: unknown
    device: str
    threads: int
    torch: str


def random_images(
    channels: Mapping[str, int], side: int, device: str | torch.device
) -> dict[str, Tensor]:
    """Draw one window of every modality, standard normal, `(1, C, side, side)`."""
    images = {}
    for name, count in channels.items():
        images[name] = torch.randn(1, count, side, side, device=device)
    return images


def decode_subsets(
    model: AnyModalitySegmenter, given: Mapping[str, Tensor], subsets: Sequence[Subset]
) -> list[Tensor]:
    """Decode subsets, each image encoded once."""
    size, encoded = next(iter(given.values())).shape[-2:], model.encode(given)
    return [decode_subset(model, encoded, subset, size) for subset in subsets]


def count_cost(model: AnyModalitySegmenter, side: int) -> Cost:
    """Count a module in eval mode; on the `meta` device nothing is computed.

    What `encode` returns for a modality depends on that modality alone, so the cost of a subset
    follows from one count per modality and one per subset.

    Example:
        >>> from benchmark.experiment.models import build_model
        >>> with torch.device("meta"):
        ...     model = build_model("control", {"rgb": 3, "dsm": 1}, 5, backbone="pvt_v2_b0").eval()
        >>> cost = count_cost(model, side=64)
        >>> list(cost.decode), cost.total == cost.inference
        ([('rgb',), ('dsm',), ('rgb', 'dsm')], True)
    """
    given = random_images(model.modalities, side, next(model.parameters()).device)
    subsets = list(filter(model.sees, modality_subsets(list(given))))
    # of all subsets together: some weights serve single modalities only
    needed = parameters_in_graph(model, lambda: decode_subsets(model, given, subsets))
    with torch.no_grad():
        # what is kept between windows is kept from here on
        decode_subsets(model, given, subsets)
        encoded = model.encode(given)
    encode, decode = {}, {}
    for name, image in given.items():
        encode[name] = evaluation_gmac(partial(model.encode, {name: image}), warm=True)
    for subset in subsets:
        call = partial(decode_subset, model, encoded, subset, (side, side))
        decode[subset] = evaluation_gmac(call, warm=True)
    total = count_elements([*model.parameters(), *frozen_buffers(model)])
    return Cost(total, count_trainable(model), count_elements(needed), encode, decode)


def measure_time(model: AnyModalitySegmenter, side: int, device: str, rounds: int) -> Timing:
    """Time a module in eval mode, batch 1: the least of `rounds` runs after a warm-up.

    The peak is that of the GPU's allocator for the full set, weights included; the CPU has none.
    """
    place = resolve_device(device)
    model, given = model.to(place), random_images(model.modalities, side, place)
    subsets = list(filter(model.sees, modality_subsets(list(given))))
    on_gpu = place.type == "cuda"

    def decode(chosen: Sequence[Subset]) -> None:
        decode_subsets(model, given, chosen)
        if on_gpu:
            # kernels run on after the call that starts them
            torch.cuda.synchronize(place)

    full, every = partial(decode, subsets[-1:]), partial(decode, subsets)
    memory = None
    with torch.inference_mode():
        seconds = time_interleaved({"full": full, "every": every}, rounds)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(place)
            full()
            memory = torch.cuda.max_memory_allocated(place) / 2**20
    processor = f"CPU ({platform.processor() or platform.machine()})"
    name = torch.cuda.get_device_name(place) if on_gpu else processor
    times = 1000 * seconds["full"], 1000 * seconds["every"]
    return Timing(*times, memory, name, torch.get_num_threads(), torch.__version__)


def resolve_device(device: str) -> torch.device:
    """Resolve a device name; without one, a GPU if there is any.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    there = torch.cuda.device_count()
    valid = ["cpu", *(["cuda"] if there else []), *map("cuda:{}".format, range(there))]
    chosen = device or ("cuda" if there else "cpu")
    if chosen not in valid:
        raise UserError(f"DEVICE {chosen!r} is not here; valid are: {', '.join(valid)}.")
    return torch.device(chosen)


def time_interleaved(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Take the minimum seconds of each variant, run in turn after one uncounted run of each."""
    # minimums, and in turn: on a shared machine medians of ratios wander by a factor of ten
    best = dict.fromkeys(variants, float("inf"))
    for number in range(rounds + 1):
        for name, action in variants.items():
            started = time.perf_counter()
            action()
            if number:
                best[name] = min(best[name], time.perf_counter() - started)
    return best
