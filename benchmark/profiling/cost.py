"""What scoring one window costs: counted on a module without values, timed on one with."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmark.metrics.subsets import modality_subsets
from benchmark.profiling.complexity import evaluation_gmac, frozen_buffers, parameters_in_graph
from benchmark.profiling.timing import time_interleaved
from usererror import UserError

if TYPE_CHECKING:
    from methods.base import AnyModalitySegmenter

Subset = tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """Counts of one method; multiply-accumulates in 1e9 for one window, batch 1.

    Attributes:
        total: parameters in all, frozen weights included.
        trainable: those that training changes.
        inference: those that the logits of any subset are made from.
        encode: multiply-accumulates by modality.
        decode: multiply-accumulates by subset, of what is encoded.
    """

    total: int
    trainable: int
    inference: int
    encode: dict[str, float]
    decode: dict[Subset, float]

    def subset_gmac(self, subset: Subset) -> float:
        """Multiply-accumulates of encoding a subset and decoding it."""
        return sum(self.encode[name] for name in subset) + self.decode[subset]

    @property
    def all_subsets_gmac(self) -> float:
        """Multiply-accumulates of all subsets, each modality encoded once."""
        return sum(self.encode.values()) + sum(self.decode.values())


@dataclass(frozen=True)
class Timing:
    """Milliseconds for one window, peak memory in MiB (None: unknown), and where.

    `full_ms` is for the full set, `every_ms` for all subsets, each image encoded once.
    """

    full_ms: float
    every_ms: float
    memory: float | None
    device: str
    threads: int
    torch: str


def random_images(
    channels: Mapping[str, int], side: int, device: str | torch.device
) -> dict[str, Tensor]:
    """Draw one window of every modality, standard normal, `(1, C, side, side)`."""
    shapes = {name: (1, count, side, side) for name, count in channels.items()}
    return {name: torch.randn(shape, device=device) for name, shape in shapes.items()}


def decode_subset(
    model: AnyModalitySegmenter, encoded: Mapping[str, Any], subset: Iterable[str], side: int
) -> Tensor:
    """Decode a subset of what is encoded, logits `(1, K, side, side)`."""
    return model.decode({name: encoded[name] for name in subset}, (side, side))


def decode_subsets(
    model: AnyModalitySegmenter, given: Mapping[str, Tensor], subsets: Sequence[Subset]
) -> list[Tensor]:
    """Decode subsets, each image encoded once."""
    side, encoded = next(iter(given.values())).shape[-1], model.encode(given)
    return [decode_subset(model, encoded, subset, side) for subset in subsets]


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
    subsets = modality_subsets(list(given))
    # of all subsets together: some weights serve single modalities only
    needed = parameters_in_graph(model, lambda: decode_subsets(model, given, subsets))
    with torch.no_grad():
        # what is kept between windows is kept from here on
        decode_subsets(model, given, [*subsets[: len(given)], subsets[-1]])
        encoded = model.encode(given)
    encode, decode = {}, {}
    for name, image in given.items():
        call = partial(model.encode, {name: image})
        encode[name] = evaluation_gmac(call, warm=True)
    for subset in subsets:
        decode[subset] = evaluation_gmac(
            partial(decode_subset, model, encoded, subset, side), warm=True
        )
    weights = list(model.parameters())
    everything = [*weights, *frozen_buffers(model)]
    trainable = [weight for weight in weights if weight.requires_grad]
    return Cost(_size(everything), _size(trainable), _size(needed), encode, decode)


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def measure_time(model: AnyModalitySegmenter, side: int, device: str, rounds: int) -> Timing:
    """Time a module in eval mode, batch 1: the least of `rounds` runs after a warm-up.

    The peak is that of the GPU's allocator for the full set, weights included; the CPU has none.
    """
    place = resolve_device(device)
    model, given = model.to(place), random_images(model.modalities, side, place)
    subsets = modality_subsets(list(given))
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
    name = f"CPU ({platform.processor() or platform.machine()})"
    if on_gpu:
        name = torch.cuda.get_device_name(place)
    times = 1000 * seconds["full"], 1000 * seconds["every"]
    return Timing(*times, memory, name, torch.get_num_threads(), torch.__version__)


def resolve_device(device: str) -> torch.device:
    """Resolve a device name; without one, a GPU if there is any.

    Raises:
        UserError: neither CPU nor a GPU that is there.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    there = torch.cuda.device_count()
    valid = ["cpu", *(["cuda"] if there else []), *(f"cuda:{number}" for number in range(there))]
    chosen = device or ("cuda" if there else "cpu")
    if chosen not in valid:
        raise UserError(f"DEVICE {chosen!r} is not here; valid are: {', '.join(valid)}.")
    return torch.device(chosen)
