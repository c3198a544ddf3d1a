"""What scoring one window costs, counted on a module without values (the `meta` device), and timed on one with."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
        total, trainable, inference: parameters in all (frozen weights included), those that training changes, and those
            that the logits of any subset are made from.
        encode: by modality; decode: by subset, of what is encoded.
    """

    total: int
    trainable: int
    inference: int
    encode: dict[str, float]
    decode: dict[Subset, float]

    def of(self, subset: Subset) -> float:
        """Encoding a subset and decoding it."""
        return sum(self.encode[name] for name in subset) + self.decode[subset]

    @property
    def every(self) -> float:
        """All subsets, each modality encoded once, as evaluation does it."""
        return sum(self.encode.values()) + sum(self.decode.values())


@dataclass(frozen=True)
class Timing:
    """Milliseconds for one window (full set; all subsets, encoded once), peak memory in MiB (None: unknown), where."""

    full_ms: float
    every_ms: float
    memory: float | None
    device: str
    threads: int
    torch: str


def random_images(
    channels: Mapping[str, int], side: int, device: str | torch.device
) -> dict[str, Tensor]:
    """One window of every modality, 1 x C x side x side; standard normal."""
    return {
        name: torch.randn(1, count, side, side, device=device) for name, count in channels.items()
    }


def decode_subset(
    model: AnyModalitySegmenter, encoded: Mapping[str, Any], subset: Iterable[str], side: int
) -> Tensor:
    """Logits 1 x K x side x side of a subset of what is encoded."""
    return model.decode({name: encoded[name] for name in subset}, (side, side))


def decode_subsets(
    model: AnyModalitySegmenter, given: Mapping[str, Tensor], subsets: Sequence[Subset]
) -> list[Tensor]:
    """Logits of the subsets, each image encoded once."""
    side, encoded = next(iter(given.values())).shape[-1], model.encode(given)
    return [decode_subset(model, encoded, subset, side) for subset in subsets]


def count_cost(model: AnyModalitySegmenter, side: int) -> Cost:
    """Count a module in eval mode; on the `meta` device nothing is computed.

    What `encode` returns for a modality depends on that modality alone, so the cost of encoding a set is the sum of its
    modalities', and the cost of a subset follows from one count per modality and one per subset.
    """
    given = random_images(model.modalities, side, next(model.parameters()).device)
    subsets = modality_subsets(list(given))
    needed = parameters_in_graph(model, lambda: decode_subsets(model, given, subsets))
    with torch.no_grad():
        decode_subsets(
            model, given, [*subsets[: len(given)], subsets[-1]]
        )  # what is kept is kept from here on
        encoded = model.encode(given)
    encode = {
        name: evaluation_gmac(lambda name=name, image=image: model.encode({name: image}), warm=True)  # type: ignore[misc]
        for name, image in given.items()
    }
    decode = {
        subset: evaluation_gmac(
            lambda subset=subset: decode_subset(model, encoded, subset, side), warm=True
        )  # type: ignore[misc]
        for subset in subsets
    }
    weights = list(model.parameters())
    return Cost(
        _size([*weights, *frozen_buffers(model)]),
        _size(weight for weight in weights if weight.requires_grad),
        _size(needed),
        encode,
        decode,
    )


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def measure_time(model: AnyModalitySegmenter, side: int, device: str, rounds: int) -> Timing:
    """Time a module in eval mode, batch 1, inference mode: the least of `rounds` runs after one that does not count.

    The peak is that of the allocator for the full set, weights included; the CPU has no such figure.
    """
    place = resolve_device(device)
    model, given = model.to(place), random_images(model.modalities, side, place)
    subsets = modality_subsets(list(given))
    on_gpu = place.type == "cuda"

    def run(chosen: Sequence[Subset]) -> Callable[[], None]:
        def action() -> None:
            decode_subsets(model, given, chosen)
            if on_gpu:
                torch.cuda.synchronize(place)

        return action

    full, every = run(subsets[-1:]), run(subsets)
    with torch.inference_mode():
        seconds = time_interleaved({"full": full, "every": every}, rounds)
        memory = None
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(place)
            full()
            memory = torch.cuda.max_memory_allocated(place) / 2**20
    name = (
        torch.cuda.get_device_name(place)
        if on_gpu
        else f"CPU ({platform.processor() or platform.machine()})"
    )
    return Timing(
        1000 * seconds["full"],
        1000 * seconds["every"],
        memory,
        name,
        torch.get_num_threads(),
        torch.__version__,
    )


def resolve_device(device: str) -> torch.device:
    """The device of that name, or where there is none given, a GPU if there is one.

    Raises:
        UserError: neither CPU nor a GPU that is there.
    """
    there = torch.cuda.device_count()
    valid = ["cpu", *(["cuda"] if there else []), *(f"cuda:{number}" for number in range(there))]
    chosen = device or ("cuda" if there else "cpu")
    if chosen not in valid:
        raise UserError(f"DEVICE {chosen!r} is not here; valid are: {', '.join(valid)}.")
    return torch.device(chosen)
