"""Terms of distillation against explicit sums, and what must not change them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.anyseg.losses import (
    class_divergence,
    feature_divergence,
    relation_difference,
    sensor_similarity,
)

SENSORS, BATCH, CHANNELS = 3, 2, 4
SHOWN = torch.tensor([[True, True], [True, False], [False, False]])


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pyramid(seed: int) -> list[Tensor]:
    return [draw(seed + side, SENSORS, BATCH, CHANNELS, side, side + 1) for side in (4, 2)]


def divergence(wanted: Tensor, found: Tensor) -> float:
    """KL of two vectors of logits, by its definition."""
    p, q = torch.exp(wanted) / torch.exp(wanted).sum(), torch.exp(found) / torch.exp(found).sum()
    return float((p * (p / q).log()).sum())


def test_class_divergence_is_the_mean_over_pixels() -> None:
    student, teacher = draw(0, BATCH, 5, 3, 2), draw(1, BATCH, 5, 3, 2)
    total = 0.0
    for sample in range(BATCH):
        for row in range(3):
            for column in range(2):
                place = (sample, slice(None), row, column)
                total += divergence(teacher[place], student[place])
    found = class_divergence(student, teacher)
    assert float(found) == pytest.approx(total / (BATCH * 6), rel=1e-5)
    # a constant of a pixel's logits is no statement about classes
    moved = class_divergence(student + draw(2, BATCH, 1, 3, 2), teacher)
    torch.testing.assert_close(moved, found)
    assert class_divergence(teacher, teacher).abs() < 1e-7


@pytest.mark.parametrize(("dim", "constant"), [(2, (1, 4, 5)), (3, (CHANNELS, 1, 5))])
def test_feature_divergence_looks_at_shown_sensors(dim: int, constant: tuple[int, ...]) -> None:
    student, teacher = pyramid(0), pyramid(9)
    total = 0.0
    for one, other in zip(student, teacher, strict=True):
        for sample in range(BATCH):
            sensors = SHOWN[:, sample].nonzero()[:, 0].tolist()
            for m in sensors:
                wanted = other[m, sample].movedim(dim - 2, -1).reshape(-1, other.shape[dim])
                found = one[m, sample].movedim(dim - 2, -1).reshape(-1, one.shape[dim])
                summed = sum(divergence(w, f) for w, f in zip(wanted, found, strict=True))
                total += summed / one[m, sample].numel() / len(sensors) / BATCH
    found = feature_divergence(student, teacher, SHOWN, dim)
    assert float(found) == pytest.approx(total, rel=1e-4)
    moved = [student[0] + draw(5, SENSORS, BATCH, *constant), student[1]]
    torch.testing.assert_close(feature_divergence(moved, teacher, SHOWN, dim), found)
    noisy = [torch.where(SHOWN[..., None, None, None], maps, 1e6) for maps in student]
    torch.testing.assert_close(feature_divergence(noisy, teacher, SHOWN, dim), found)


def test_relation_difference_against_cosines_of_numpy() -> None:
    student, teacher = pyramid(0), pyramid(9)

    def relations(maps: Tensor, sample: int, sensors: list[int]) -> Tensor:
        table = torch.zeros(len(sensors), len(sensors))
        for i, m in enumerate(sensors):
            for j, n in enumerate(sensors):
                for channel in range(CHANNELS):
                    a, b = maps[m, sample, channel].flatten(), maps[n, sample, channel].flatten()
                    table[i, j] += torch.dot(a, b) / (a.norm() * b.norm()) / CHANNELS
        return table

    total = 0.0
    for one, other in zip(student, teacher, strict=True):
        for sample in range(BATCH):
            sensors = SHOWN[:, sample].nonzero()[:, 0].tolist()
            parts = [relations(maps, sample, sensors) for maps in (one, other)]
            total += float(((parts[0] - parts[1]) ** 2).mean()) / BATCH
    found = relation_difference(student, teacher, SHOWN)
    assert float(found) == pytest.approx(total, rel=1e-4)
    # positive factors of channels, and the order of sensors, are no relation
    factors = draw(5, SENSORS, BATCH, CHANNELS, 1, 1).abs() + 0.1
    scaled = [maps * factors for maps in student]
    torch.testing.assert_close(relation_difference(scaled, teacher, SHOWN), found)
    order = torch.tensor([2, 0, 1])
    turned = [[maps[order] for maps in maps_of] for maps_of in (student, teacher)]
    torch.testing.assert_close(relation_difference(*turned, SHOWN[order]), found)


def test_one_sensor_has_no_relation_and_the_same_map_is_wholly_alike() -> None:
    alone = torch.tensor([[True, False], [False, True], [False, False]])
    # to rounding: the cosine of a map and itself
    assert relation_difference(pyramid(0), pyramid(9), alone) < 1e-10
    same = pyramid(0)[0][:1].expand(SENSORS, -1, -1, -1, -1)
    torch.testing.assert_close(sensor_similarity(same), torch.ones(BATCH, SENSORS, SENSORS))
