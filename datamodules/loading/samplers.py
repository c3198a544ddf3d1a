"""Which window comes when, on which process.

Both samplers yield batches of keys `(epoch, index)` in which every sample has the same modalities
available. Example: five training windows, the last from a scene without a height model, batches of
two for two ranks:

    patterns            full full full full | no dsm
    full batches        [2, 0] [1, 3]       | [4, 9]     9 = 4 + 5: the same scene drawn once more
    shuffled, dealt     rank 0: [4, 9] [2, 0]    rank 1: [1, 3] [19, 24]

Rank 1 lacks a second batch, so it repeats [4, 9] moved by (batch size + 1) x 5 = 15: the scene is
the same, the windows are new. In evaluation nothing is made up and nothing is shuffled.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

Batch = list[tuple[int, int]]
BLANK = -1  # the index of a window without labels


def _divide_up(number: int, by: int) -> int:
    return -(-number // by)


@dataclass(eq=False)
class TrainingBatches(Sampler[Batch]):
    """Shuffled full batches of `batch_size` samples, as many on each of `world_size` ranks.

    `patterns` names the availability pattern of each index; `start` is the epoch that a training
    continues in and the number of its batches that are done.

    Example:
        >>> sampler = TrainingBatches(["full"] * 3, batch_size=2, seed=0)
        >>> list(sampler)
        [[(0, 1), (0, 5)], [(0, 2), (0, 0)]]
    """

    patterns: Sequence[Hashable]
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    start: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        # workers ask for the first batches before Lightning names the epoch
        self.epoch = self.start[0]
        self.sampler = self  # Lightning looks for `set_epoch` on `batch_sampler.sampler`
        self.groups: dict[Hashable, list[int]] = {}
        for index, pattern in enumerate(self.patterns):
            self.groups.setdefault(pattern, []).append(index)

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of an epoch; Lightning calls this before each one."""
        # the epoch travels with each index to the worker, which draws its window from (seed, epoch,
        # index): neither the number of workers nor the order of their answers changes a sample
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng((self.seed, self.epoch))
        batches = []
        for members in self.groups.values():
            batches += self._full_batches(rng.permutation(members).tolist())
        rng.shuffle(batches)
        # every rank forms the same list and takes its share; what the last round lacks repeats
        # earlier batches with indices that no other batch uses
        done = self.start[1] if self.epoch == self.start[0] else 0
        for turn in range(done, len(self)):
            number = turn * self.world_size + self.rank
            again = number // len(batches) * (self.batch_size + 1) * len(self.patterns)
            yield [(self.epoch, index + again) for index in batches[number % len(batches)]]

    def _full_batches(self, order: list[int]) -> list[list[int]]:
        """Cut indices into batches; an index beyond the length is another window of its scene."""
        rounded = _divide_up(len(order), self.batch_size) * self.batch_size
        rounds = range(_divide_up(rounded, len(order)))
        indices = [index + again * len(self.patterns) for again in rounds for index in order]
        starts = range(0, rounded, self.batch_size)
        return [indices[start : start + self.batch_size] for start in starts]

    def __len__(self) -> int:
        lengths = map(len, self.groups.values())
        batches = sum(_divide_up(length, self.batch_size) for length in lengths)
        return _divide_up(batches, self.world_size)


class EvaluationBatches(Sampler[Batch]):
    """All windows of whole scenes in their order; no window twice, so ranks may differ in length.

    `scenes` are those of this rank; one without any gets the window `BLANK`, which counts nothing.
    A batch closes where the availability pattern changes.

    Example:
        >>> list(EvaluationBatches(["full"] * 5, [0, 0, 0, 1, 1], scenes=[0], batch_size=2))
        [[(0, 0), (0, 1)], [(0, 2)]]
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
            full = not self.batches or len(self.batches[-1]) == batch_size
            if full or patterns[index] != previous:
                self.batches.append([])
            self.batches[-1].append((0, index))
            previous = patterns[index]
        if not self.batches:
            # Lightning leaves the evaluation out where there is nothing to load, and the other
            # ranks would wait for this one at the end of it
            self.batches.append([(0, BLANK)])

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def share_scenes(sizes: Sequence[int], world_size: int) -> list[list[int]]:
    """Deal scenes to ranks: the largest one left goes to the rank with the least work so far.

    Whole scenes stay on one rank because their windows are stitched there.

    Example:
        >>> share_scenes([50, 30, 10], world_size=2)
        [[0], [1, 2]]
    """
    shares: list[list[int]] = [[] for _ in range(world_size)]
    load = [0] * world_size
    for scene in sorted(range(len(sizes)), key=lambda number: (-sizes[number], number)):
        rank = load.index(min(load))
        shares[rank].append(scene)
        load[rank] += sizes[scene]
    return [sorted(share) for share in shares]
