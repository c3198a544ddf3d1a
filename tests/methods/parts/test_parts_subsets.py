"""Subset samplers against the probabilities that enumerating every subset gives."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from methods.parts.modality_dropout import draw_subsets, send

NAMES = ("rgb", "dsm", "sar", "event")
RULES = ("full", "one_missing", "any_subset", "size_uniform")
DRAWS = 20_000


def exact(rule: str, names: tuple[str, ...]) -> dict[frozenset[str], Fraction]:
    """Probability of each possible subset of `names`, from the words of the rule."""
    every = [frozenset(c) for size in range(1, len(names) + 1) for c in combinations(names, size)]
    full = frozenset(names)
    if rule == "size_uniform":
        sizes = Counter(len(subset) for subset in every)
        return {subset: Fraction(1, len(names) * sizes[len(subset)]) for subset in every}
    chosen = {
        "full": [full],
        "one_missing": [subset for subset in every if len(subset) >= len(names) - 1],
        "any_subset": every,
    }[rule]
    return {subset: Fraction(1, len(chosen)) for subset in chosen}


def drawn(present: dict[str, torch.Tensor]) -> list[frozenset[str]]:
    rows = zip(*(mask.tolist() for mask in present.values()), strict=True)
    return [frozenset(m for m, kept in zip(present, row, strict=True) if kept) for row in rows]


def agree(seen: list[frozenset[str]], expected: dict[frozenset[str], Fraction]) -> None:
    """The same support, and frequencies that a chi-square test does not reject at 1e-4."""
    counts = Counter(seen)
    assert set(counts) == set(expected) and sum(expected.values()) == 1
    if len(expected) > 1:
        frequencies = [float(chance) * len(seen) for chance in expected.values()]
        assert chisquare([counts[subset] for subset in expected], frequencies).pvalue > 1e-4


def everything(names: tuple[str, ...], batch: int) -> dict[str, torch.Tensor]:
    return {m: torch.ones(batch, dtype=torch.bool) for m in names}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_distribution_per_sample(rule, count):
    torch.manual_seed(count)
    present = draw_subsets(rule, everything(NAMES[:count], DRAWS))
    assert list(present) == list(NAMES[:count])
    assert all(mask.dtype == torch.bool and mask.shape == (DRAWS,) for mask in present.values())
    agree(drawn(present), exact(rule, NAMES[:count]))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [2, 3])
def test_distribution_per_batch(rule, count):
    torch.manual_seed(count)
    seen = []
    for _ in range(3000):
        subsets = drawn(draw_subsets(rule, everything(NAMES[:count], 3), per="batch"))
        assert subsets[0] == subsets[1] == subsets[2]
        seen.append(subsets[0])
    agree(seen, exact(rule, NAMES[:count]))


def test_samples_are_drawn_independently():
    """Pairs of neighbouring samples: all 49 combinations of two subsets of three modalities,
    equally likely.
    """
    torch.manual_seed(0)
    seen = drawn(draw_subsets("any_subset", everything(NAMES[:3], 2 * DRAWS)))
    counts = Counter(zip(seen[::2], seen[1::2], strict=True))
    assert len(counts) == 49
    assert chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("rule", RULES)
def test_real_gaps(rule):
    """Every pattern of availability of four modalities in one batch: each sample draws from what it
    has.
    """
    torch.manual_seed(0)
    patterns = [set(c) for size in range(1, 5) for c in combinations(NAMES, size)]
    available = {
        m: torch.tensor([m in pattern for pattern in patterns]).repeat(3000) for m in NAMES
    }
    seen = drawn(draw_subsets(rule, available))
    for number, pattern in enumerate(patterns):
        names = tuple(m for m in NAMES if m in pattern)
        agree(seen[number :: len(patterns)], exact(rule, names))


@pytest.mark.parametrize("rule", RULES[1:])
def test_real_gaps_per_batch(rule):
    """What all samples share is drawn from; what only some have is left out."""
    torch.manual_seed(0)
    available = {m: torch.tensor([True, m != "dsm", True]) for m in NAMES}
    seen = []
    for _ in range(3000):
        subsets = drawn(draw_subsets(rule, available, per="batch"))
        assert len(set(subsets)) == 1
        seen.append(subsets[0])
    agree(seen, exact(rule, ("rgb", "sar", "event")))


def test_full_keeps_real_gaps_and_draws_nothing():
    available = {"rgb": torch.tensor([True, False]), "dsm": torch.tensor([True, True])}
    before = torch.get_rng_state()
    present = draw_subsets("full", available)
    assert (
        drawn(present)
        == drawn(draw_subsets("full", available, per="batch"))
        == [{"rgb", "dsm"}, {"dsm"}]
    )
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_same_seed_same_subsets_and_the_input_is_left_alone(rule, per):
    available = everything(NAMES, 50)
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(drawn(draw_subsets(rule, available, per)))
    assert results[0] == results[1]
    assert all(mask.all() for mask in available.values())


def test_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="any_subset"):
        draw_subsets("some", everything(NAMES, 2))
    with pytest.raises(ValueError, match="sample"):
        draw_subsets("full", everything(NAMES, 2), per="epoch")
    with pytest.raises(ValueError, match="empty sample"):
        draw_subsets("any_subset", {"rgb": torch.tensor([True, False])})
    apart = {"rgb": torch.tensor([True, False]), "dsm": torch.tensor([False, True])}
    with pytest.raises(ValueError, match="in common"):
        draw_subsets("any_subset", apart, per="batch")


def test_masks_that_share_their_memory_are_sent_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def pin(values: Tensor) -> Tensor:
        # as torch does on a machine with a GPU, which this test does without
        return torch.empty_strided(values.shape, values.stride(), dtype=values.dtype).copy_(values)

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(Tensor, "to", lambda values, *_, **__: values)
    one_draw = torch.tensor([[True], [False]]).expand(2, 3)  # of a batch of 3
    with pytest.raises(RuntimeError, match="single memory location"):
        one_draw.pin_memory()
    assert torch.equal(send(one_draw, torch.device("cuda")), one_draw)
