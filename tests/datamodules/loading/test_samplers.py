"""Batches: nothing lost, nothing twice, ranks equal in training and whole scenes in evaluation."""

from __future__ import annotations

from collections import Counter

import pytest

from datamodules.loading.samplers import BLANK, EvaluationBatches, TrainingBatches, share_scenes


def training(
    patterns: list[str], batch: int, rank: int = 0, world: int = 1, epoch: int = 0
) -> list[list[int]]:
    sampler = TrainingBatches(patterns, batch, seed=3, rank=rank, world_size=world)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert all(key[0] == epoch for keys in batches for key in keys)
    return [[index for _, index in keys] for keys in batches]


@pytest.mark.parametrize(("length", "world"), [(16, 1), (17, 1), (3, 1), (16, 2), (17, 3), (5, 4)])
def test_full_batches_that_see_every_index(length: int, world: int) -> None:
    ranks = [training(["a"] * length, 4, rank, world) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    everything = [index for batches in ranks for batch in batches for index in batch]
    assert all(len(batch) == 4 for batches in ranks for batch in batches)
    assert max(Counter(everything).values()) == 1, "a made-up sample would be a copy of another one"
    assert {index % length for index in everything} == set(range(length))


def test_order_depends_on_seed_and_epoch_only() -> None:
    assert training(["a"] * 32, 4, epoch=1) == training(["a"] * 32, 4, epoch=1)
    assert training(["a"] * 32, 4, epoch=1) != training(["a"] * 32, 4, epoch=2)


def test_a_batch_has_one_availability_pattern_on_every_rank() -> None:
    patterns = ["full"] * 13 + ["rgb only"] * 6
    ranks = [training(patterns, 4, rank, 2) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1])
    for batch in ranks[0] + ranks[1]:
        assert len({patterns[index % len(patterns)] for index in batch}) == 1


def test_evaluation_sees_every_window_once_in_order() -> None:
    scene_of_index = [0] * 5 + [1] * 3 + [2] * 1
    shares = share_scenes([50, 30, 10], 2)
    seen = []
    for share in shares:
        batches = list(EvaluationBatches(["a"] * 9, scene_of_index, share, 4))
        mine = [index for batch in batches for _, index in batch]
        assert mine == sorted(mine)
        seen += mine
        assert {scene_of_index[index] for index in mine} == set(share)
    assert sorted(seen) == list(range(9))


def test_evaluation_batches_close_where_the_pattern_changes() -> None:
    patterns = ["a", "a", "b", "a"]
    batches = list(EvaluationBatches(patterns, [0, 0, 1, 2], [0, 1, 2], 4))
    assert [[index for _, index in batch] for batch in batches] == [[0, 1], [2], [3]]


def test_more_ranks_than_scenes_leaves_a_rank_empty() -> None:
    shares = share_scenes([10, 20], 3)
    assert sorted(scene for share in shares for scene in share) == [0, 1]
    assert [] in shares
    # with nothing to load, Lightning would leave the evaluation out on this rank alone
    assert list(EvaluationBatches(["a"] * 2, [0, 1], [], 4)) == [[(0, BLANK)]]
