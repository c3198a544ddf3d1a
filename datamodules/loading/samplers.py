"""Which window comes when, on which process: batching belongs to the datamodule.

Both classes yield batches of keys `(epoch, index)` in which every sample has the same modalities available.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

Batch = list[tuple[int, int]]


class TrainingBatches(Sampler[Batch]):
    """Shuffled full batches, as many on each rank.

    The epoch travels with the index to the worker, which draws its window from (seed, epoch, index): neither the number
    of workers nor the order in which they answer changes a sample. Every rank forms the same list of batches and takes
    its share; what is missing to full batches is made up by indices beyond `len(patterns)`, which stand for further
    random windows of the same scenes.

    Args:
        patterns: availability pattern of each index.
        batch_size: samples a batch on one rank.
        seed, rank, world_size: as usual.
    """

    def __init__(
        self,
        patterns: Sequence[Hashable],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.groups: dict[Hashable, list[int]] = {}
        for index, pattern in enumerate(patterns):
            self.groups.setdefault(pattern, []).append(index)
        self.length, self.batch_size, self.seed = len(patterns), batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.sampler = self  # Lightning looks for `set_epoch` on `batch_sampler.sampler`

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng((self.seed, self.epoch))
        batches = []
        for members in self.groups.values():
            order = rng.permutation(members)
            rounded = -(-len(order) // self.batch_size) * self.batch_size
            indices = [
                int(order[n % len(order)]) + n // len(order) * self.length for n in range(rounded)
            ]
            batches += [
                indices[start : start + self.batch_size]
                for start in range(0, rounded, self.batch_size)
            ]
        rng.shuffle(batches)
        for number in range(self.rank, len(self) * self.world_size, self.world_size):
            again = number // len(batches) * (self.batch_size + 1) * self.length
            yield [(self.epoch, index + again) for index in batches[number % len(batches)]]

    def __len__(self) -> int:
        batches = sum(-(-len(members) // self.batch_size) for members in self.groups.values())
        return -(-batches // self.world_size)


class EvaluationBatches(Sampler[Batch]):
    """All windows of whole scenes in their order; no window twice, so ranks may differ in length.

    Args:
        patterns: availability pattern of each index.
        scene_of_index: scene number of each index.
        scenes: the scenes of this rank.
        batch_size: windows a batch; a batch also closes where the pattern changes.
    """

    def __init__(
        self,
        patterns: Sequence[Hashable],
        scene_of_index: Sequence[int],
        scenes: Sequence[int],
        batch_size: int,
    ) -> None:
        mine = set(scenes)
        self.batches: list[Batch] = []
        previous: Hashable = None
        for index, scene in enumerate(scene_of_index):
            if scene not in mine:
                continue
            if (
                not self.batches
                or len(self.batches[-1]) == batch_size
                or patterns[index] != previous
            ):
                self.batches.append([])
            self.batches[-1].append((0, index))
            previous = patterns[index]

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def share_scenes(sizes: Sequence[int], world_size: int) -> list[list[int]]:
    """Scene numbers per rank: the largest remaining scene goes to the rank with the least work so far."""
    shares: list[list[int]] = [[] for _ in range(world_size)]
    load = [0] * world_size
    for scene in sorted(range(len(sizes)), key=lambda number: (-sizes[number], number)):
        rank = min(range(world_size), key=lambda number: (load[number], number))
        shares[rank].append(scene)
        load[rank] += sizes[scene]
    return [sorted(share) for share in shares]
