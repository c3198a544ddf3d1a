"""Streams of one encoder, packed along the batch, and the adapters that stitch them together."""

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from methods.parts.modality_dropout import row_numbers, send

HIDDEN = 8
DROPOUT = 0.1
START = 0.02  # deviation of the adapters' weights

Norm = Callable[[Tensor], Tensor]


class Layout:
    """Which modalities travel as streams, and which of their rows belong to one sample.

    The rows of a stream are the samples that have its modality; streams lie one behind another.

    Args:
        members: indices of the modalities at hand.
        batch: number of samples.
        masks: per member, on the host, bool (B,), which samples have it; none: all have all.
    """

    def __init__(
        self,
        members: Sequence[int],
        batch: int,
        masks: Sequence[Tensor] = (),
        device: torch.device | None = None,
    ) -> None:
        self.members, self.batch = list(members), batch
        self.counts = [batch] * len(self.members)
        self.rows: list[Tensor] | None = None
        self._common: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        if not masks or device is None:
            return
        self.rows = [row_numbers(mask, device) for mask in masks]
        self.counts = [len(rows) for rows in self.rows]
        places = [mask.cumsum(0) - 1 for mask in masks]
        for one, other in combinations(range(len(masks)), 2):
            both = masks[one] & masks[other]
            rows = [send(places[place][both], device) for place in (one, other)]
            self._common[one, other] = (rows[0], rows[1])
            self._common[other, one] = (rows[1], rows[0])

    def pack(self, maps: Sequence[Tensor]) -> Tensor:
        """Members' maps (B, ...) -> all their rows (sum of counts, ...)."""
        if self.rows is not None:
            maps = [part[rows] for part, rows in zip(maps, self.rows, strict=True)]
        return torch.cat(list(maps))

    def add_across(
        self, target: Tensor, source: Tensor, places: tuple[int, int], change: Norm
    ) -> Tensor:
        """Add `change(source)` of one stream to another, sample by sample; places: from, to."""
        if self.rows is None:
            return target + change(source)
        given, taken = self._common[places]
        return target.index_add(0, taken, change(source[given]).to(target.dtype))

    def add_to_samples(self, total: Tensor | None, part: Tensor, place: int) -> Tensor:
        """Add a stream's rows to a sum over streams (B, ...); None starts one."""
        if self.rows is None:
            return part if total is None else total + part
        if total is None:
            total = part.new_zeros(self.batch, *part.shape[1:])
        return total.index_add(0, self.rows[place], part)


class Adapter(nn.Sequential):
    """Squeeze C channels, the last dimension, to 8 and back.

    The released constructor zeroes all three layers, which would never learn; its model draws them
    anew, as here (dossier S2).
    """

    def __init__(self, width: int) -> None:
        down, middle = nn.Linear(width, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        up = nn.Linear(HIDDEN, width)
        for layer in (down, middle, up):
            nn.init.normal_(layer.weight, std=START)
            nn.init.zeros_(layer.bias)
        super().__init__(down, middle, nn.GELU(), nn.Dropout(DROPOUT), up)


class Stitch(nn.Module):
    """One adapter per pair of streams, for both directions, behind one step of a block.

    Args:
        count: of configured modalities.
        parallel: all adapters read the streams as they come in; else, as released, stream after
            stream gives to the others what it has by then.
    """

    def __init__(self, count: int, width: int, parallel: bool = False) -> None:
        super().__init__()
        self.parallel = parallel
        pairs = combinations(range(count), 2)
        self.adapters = nn.ModuleDict({f"{one}_{other}": Adapter(width) for one, other in pairs})

    def forward(self, packed: Tensor, layout: Layout, norm: Norm) -> Tensor:
        """(rows, ..., C) -> the same; the adapters read normed streams."""
        if len(layout.members) == 1:
            return packed
        streams = list(packed.split(layout.counts))
        sources = list(streams) if self.parallel else streams
        for giver, i in enumerate(layout.members):
            source = norm(sources[giver])
            for taker, j in enumerate(layout.members):
                if taker != giver:
                    adapter = self.adapters[f"{min(i, j)}_{max(i, j)}"]
                    places = (giver, taker)
                    streams[taker] = layout.add_across(streams[taker], source, places, adapter)
        return torch.cat(streams)
