"""RobustSeg's terms against loops over labels and a second backward pass, and their invariances."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from torch.nn import functional as F

from methods.anyseg.losses import divergence
from methods.robustseg import losses
from methods.robustseg.losses import (
    add_noise,
    draw_partners,
    fisher_regulariser,
    prototype_divergence,
    released_regulariser,
)

SENSORS, BATCH, CHANNELS, CLASSES, IGNORED = 3, 2, 4, 5, 255
SHOWN = torch.tensor([[True, True], [True, False], [False, False]])


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pyramid(seed: int) -> list[Tensor]:
    """Two scales of an image of 14 x 22, padded to 16 x 24."""
    sides = ((4, 6), (2, 3))
    return [draw(seed + h, SENSORS, BATCH, CHANNELS, h, w) for h, w in sides]


def labels(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, CLASSES, (BATCH, 14, 22), generator=generator)
    mask[:, :6] = IGNORED
    # a class that no sample has
    return torch.where(mask == 3, 1, mask)


def compute(one: list[Tensor], other: list[Tensor], mask: Tensor, **options: object) -> Tensor:
    return prototype_divergence(one, other, mask, (CLASSES, IGNORED), SHOWN, **options)


def brute_force(
    one: list[Tensor], other: list[Tensor], mask: Tensor, partners: Tensor, released: bool
) -> float:
    padded = F.pad(mask, (0, 2, 0, 2), value=IGNORED)[:, None].double()
    total = 0.0
    for scale, (found, wanted) in enumerate(zip(one, other, strict=True)):
        small = F.interpolate(padded, size=found.shape[-2:], mode="nearest")[:, 0].long()
        for sample in range(BATCH):
            sensors = SHOWN[:, sample].nonzero()[:, 0].tolist()
            for m in sensors:
                tables = []
                partner = int(partners[scale, m, sample])
                for maps in (found[partner, sample], wanted[m, sample]):
                    means = {}
                    for k in range(CLASSES):
                        there = small[sample] == k
                        if there.any():
                            means[k] = maps[:, there].double().mean(1)
                            if released:
                                means[k] = means[k] / there.sum()
                        elif released:
                            means[k] = torch.zeros(CHANNELS, dtype=torch.double)
                    tables.append(torch.stack(list(means.values())).softmax(0))
                u, t = tables
                entry = float((t * (t / u).log()).mean())
                total += entry / BATCH / (1 if released else len(sensors))
    return total


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("pairing", ["same", "random"])
def test_prototypes_against_loops_over_labels(released: bool, pairing: str) -> None:
    one, other, mask = pyramid(0), pyramid(9), labels()
    own = torch.arange(SENSORS)[None, :, None].expand(2, SENSORS, BATCH)
    partners = draw_partners(SHOWN, 2) if pairing == "random" else own
    found = compute(
        one, other, mask, partners=None if pairing == "same" else partners, released=released
    )
    assert float(found) == pytest.approx(
        brute_force(one, other, mask, partners, released), rel=1e-4
    )


def test_means_released_are_divided_once_more() -> None:
    maps, mask = draw(0, 1, 1, CHANNELS, 4, 4), torch.zeros(1, 16, 16, dtype=torch.long)
    mask[:, 8:] = 1
    seen: list[Tensor] = []

    def note(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
        seen.append(student)
        return divergence(student, teacher, dim)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "divergence", note)
        for released in (False, True):
            prototype_divergence(
                [maps], [maps], mask, (2, IGNORED), torch.ones(1, 1).bool(), released=released
            )
    torch.testing.assert_close(seen[1], seen[0] / 8)


def test_what_prototypes_do_not_see() -> None:
    one, other, mask = pyramid(0), pyramid(9), labels()
    found = compute(one, other, mask)
    # a constant per channel, and the names of the classes
    moved = [maps + draw(5, SENSORS, BATCH, CHANNELS, 1, 1) for maps in one]
    torch.testing.assert_close(compute(moved, other, mask), found)
    order = torch.tensor([4, 2, 0, 3, 1])
    renamed = torch.where(mask == IGNORED, mask, order[mask.clamp(max=CLASSES - 1)])
    torch.testing.assert_close(compute(one, other, renamed), found)
    # nor what is not shown
    noisy = [torch.where(SHOWN[..., None, None, None], maps, 1e6) for maps in one]
    torch.testing.assert_close(compute(noisy, other, mask), found)


@pytest.mark.parametrize("released", [False, True])
def test_without_labels_or_with_one_class_there_is_nothing_to_learn(released: bool) -> None:
    empty = torch.full((BATCH, 14, 22), IGNORED)
    for mask in (empty, torch.zeros_like(empty)):
        one = [maps.requires_grad_() for maps in pyramid(0)]
        found = compute(one, pyramid(9), mask, released=released)
        found.backward()
        assert all(maps.grad is not None and maps.grad.isfinite().all() for maps in one)
        if mask is empty or not released:
            assert found == 0 and not any(maps.grad.any() for maps in one)


def test_random_partners_agree_where_sensors_do() -> None:
    """With a student equal to its teacher only sensors with other means leave a difference."""
    one, mask = pyramid(0), labels()
    swapped = torch.tensor([1, 0, 2])[None, :, None].expand(2, SENSORS, BATCH)
    # the second sample shows one sensor, its own partner
    swapped = torch.where(SHOWN[1], swapped, 0)
    assert compute(one, one, mask).abs() < 1e-7
    assert compute(one, one, mask, partners=swapped) > 1e-3
    alike = [maps[:1].expand_as(maps) for maps in one]
    assert compute(alike, alike, mask, partners=swapped).abs() < 1e-7


def test_partners_are_drawn_evenly_among_the_shown() -> None:
    torch.manual_seed(0)
    shown = torch.tensor([[True, True], [False, True], [True, False], [True, False]])
    partners = draw_partners(shown, 1000)
    assert partners.shape == (1000, 4, 2)
    for sample in range(2):
        counts = partners[:, :, sample].flatten().bincount(minlength=4)
        assert not counts[~shown[:, sample]].any()
        assert chisquare(counts[shown[:, sample]]).pvalue > 1e-3


def by_second_backward(student: Tensor, teacher: Tensor) -> Tensor:
    """The released term of maps (C, h, w) by its definition."""
    f, t = student.log_softmax(1), teacher.softmax(1)
    if not t.requires_grad:
        t.requires_grad_()
    mean = (t * (t.log() - f)).mean()
    inverses = []
    for gradient in torch.autograd.grad(mean, (f, t), create_graph=True):
        inverses.append(((gradient**2).sum(1).mean() / mean) ** -2)
    return torch.stack(inverses).sum().sqrt()


def test_the_released_regulariser_is_that_of_a_second_backward_pass() -> None:
    found, expected, divergences = [], [], []
    student, teacher = draw(0, 6, 5, 7).double(), draw(1, 6, 5, 7).double()
    for call, gradients in (
        (lambda x: fisher_regulariser(x[None, None], teacher[None, None])[0, 0], found),
        (lambda x: by_second_backward(x, teacher), expected),
        (lambda x: divergence(x, teacher, 1).mean(), divergences),
    ):
        leaf = student.clone().requires_grad_()
        value = call(leaf)
        value.backward()
        gradients += [value.detach(), leaf.grad]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    assert torch.cosine_similarity(found[1].flatten(), divergences[1].flatten(), 0) > 0.999


def test_the_released_regulariser_has_the_sizes_of_the_release() -> None:
    """N(0, 1) maps of a MiT-B0 at 256 px; the dossier's numbers have one digit."""
    torch.manual_seed(0)
    sizes = []
    for channels, side in ((32, 64), (64, 32), (160, 16), (256, 8)):
        one, other = (
            add_noise(torch.randn(1, 1, channels, side, side), losses.COPIES) for _ in range(2)
        )
        sizes.append(float(losses.FACTOR * fisher_regulariser(one, other)))
    assert [float(f"{size:.0e}") for size in sizes] == [7e-3, 2e-3, 1e-3, 2e-4]
    same = torch.randn(1, 1, 32, 64, 64)
    noisy = divergence(add_noise(same, losses.COPIES), add_noise(same, losses.COPIES), 3)
    assert float(noisy.mean()) == pytest.approx(0.0145, abs=2e-4)


def test_equal_maps_differ_by_their_noise_only() -> None:
    maps = draw(0, 1, 1, 4, 3, 3).requires_grad_()
    without = fisher_regulariser(maps, maps.detach())
    without.sum().backward()
    assert without == 0 and maps.grad is not None and maps.grad.isfinite().all()
    torch.manual_seed(0)
    assert divergence(maps, maps, 2).abs().max() < 1e-7
    assert divergence(add_noise(maps), add_noise(maps), 2).mean() > 0.01
    # a pixel whose channels are alike has no noise, and a gradient
    flat = torch.ones(1, 1, 4, 3, 3, requires_grad=True)
    assert torch.equal(add_noise(flat), flat)
    add_noise(flat).sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()
    spread = add_noise(torch.arange(4.0)[None, None, :, None, None].expand(1, 1, 4, 60, 60))
    means = spread.std((3, 4)).flatten()
    torch.testing.assert_close(means, torch.arange(4.0).std().expand(4), rtol=0.05, atol=0)


def test_the_released_regulariser_adds_shown_sensors() -> None:
    one, other = pyramid(0), pyramid(9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "add_noise", lambda maps, copies: maps)
        found = released_regulariser(one, other, SHOWN)
    total = 0.0
    for maps, wanted in zip(one, other, strict=True):
        for m, sample in SHOWN.nonzero().tolist():
            leaf = maps[m, sample].clone().requires_grad_()
            total += float(by_second_backward(leaf, wanted[m, sample]).detach()) / BATCH
    assert float(found) == pytest.approx(losses.FACTOR * total, rel=1e-4)
