"""MCRM: which samples lose which pixels of which modality, which pixels the heads learn (checks 14
- 17).
"""

from __future__ import annotations

import pytest
import torch

from methods.mobanet.masking import (
    choose_streams,
    draw_rectangles,
    hard_pixels,
    mask_regions,
    masked_counts,
)
from methods.parts.losses import cross_entropy
from tests.support.method_checks import (
    THREE,
    images,
    training_batch,
)
from tests.support.mobanet_tiny import TWO, make

CPU = torch.device("cpu")


def everything(modalities: dict[str, int], batch: int) -> dict[str, torch.Tensor]:
    return {m: torch.ones(batch, dtype=torch.bool) for m in modalities}


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_a_masked_sample_loses_one_rectangle_of_one_modality(modalities):
    """Check 14."""
    torch.manual_seed(0)
    given = images(modalities, 16, (96, 96))
    masked = mask_regions(given, everything(modalities, 16))
    changed = torch.stack([(masked[m] != given[m]).any(1) for m in modalities])  # M x B x H x W
    hit = changed.flatten(2).any(2)
    assert hit.sum(0).max() == 1 and hit.sum() == 4
    for index, m in enumerate(modalities):
        assert not masked[m].movedim(1, -1)[changed[index]].any(), "zero in all channels"
        kept = ~changed[index][:, None].expand_as(masked[m])
        assert torch.equal(masked[m][kept], given[m][kept])
        for sample in torch.where(hit[index])[0]:
            rows, columns = torch.where(changed[index, sample])
            box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
            assert len(rows) == box, "one rectangle"


def test_rectangles_have_the_published_sizes():
    """Check 15, at the training size; both sides, areas and aspects reach their ends, places reach
    the edges.
    """
    torch.manual_seed(0)
    inside = draw_rectangles(1000, (266, 266), CPU)
    tall, wide = inside.any(2).sum(1).double(), inside.any(1).sum(1).double()
    assert torch.equal(inside.sum((1, 2)).double(), tall * wide)
    area, aspect = tall * wide / 266**2, wide / tall
    assert 0.099 <= area.min() < 0.102 and 0.298 < area.max() <= 0.302
    assert area.mean().item() == pytest.approx(0.2, abs=0.008)
    assert 0.49 <= aspect.min() < 0.51 and 1.97 < aspect.max() <= 2.03
    assert aspect.mean().item() == pytest.approx(1.25, abs=0.06)
    assert tall.min() >= 59 and tall.max() <= 206 and wide.min() >= 59 and wide.max() <= 206
    for sides in (inside.any(2), inside.any(1)):
        first = sides.int().argmax(1)
        assert (first == 0).any() and sides[:, -1].any()


def test_rectangles_are_spread_over_all_positions():
    torch.manual_seed(0)
    inside = draw_rectangles(10_000, (20, 20), CPU)
    tall = inside.any(2).sum(1)
    top = inside.any(2).int().argmax(1)
    for side in tall.unique().tolist():
        counts = torch.bincount(top[tall == side], minlength=20 - side + 1)
        assert len(counts) == 20 - side + 1
        expected = counts.sum() / len(counts)
        # 0.9999 quantile of chi-square with at most 16 degrees of freedom: 46
        assert ((counts - expected) ** 2 / expected).sum() < 46


def test_rectangles_stay_inside_a_long_image():
    inside = draw_rectangles(500, (8, 400), CPU)
    assert inside.any(2).sum(1).max() == 8 and inside.flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("batch", "counts"),
    [(8, [1, 1]), (12, [1, 2]), (16, [2, 2]), (24, [3, 3]), (4, [0, 1]), (6, [0, 1]), (2, [0, 0])],
)
def test_released_counts(batch, counts):
    """Check 16."""
    assert masked_counts(batch, 2) == counts
    for seed in range(5):
        torch.manual_seed(seed)
        plan = choose_streams(batch, 2, 0.25, True, CPU)
        assert (
            torch.bincount(plan[plan >= 0], minlength=2).tolist() == counts and len(plan) == batch
        )


@pytest.mark.parametrize(("batch", "streams"), [(12, 2), (6, 2), (4, 2), (8, 3), (12, 4)])
def test_balanced_in_the_long_run(batch, streams):
    """Check 16: every stream alike, the total as released, every sample alike."""
    torch.manual_seed(0)
    plans = torch.stack([choose_streams(batch, streams, 0.25, False, CPU) for _ in range(4000)])
    chosen = int(0.25 * batch)
    assert ((plans >= 0).sum(1) == chosen).all()
    shares = torch.bincount(plans[plans >= 0], minlength=streams) / (4000 * chosen)
    assert shares.tolist() == pytest.approx([1 / streams] * streams, abs=0.03)
    assert (plans >= 0).double().mean(0).tolist() == pytest.approx(
        [chosen / batch] * batch, abs=0.04
    )
    counts = torch.stack([(plans == stream).sum(1) for stream in range(streams)])
    assert (counts.max(0).values - counts.min(0).values).max() <= 1


def test_the_last_modality_of_a_sample_is_not_masked():
    torch.manual_seed(0)
    given = images(TWO, 8)
    present = {"rgb": torch.ones(8, dtype=torch.bool), "dsm": torch.zeros(8, dtype=torch.bool)}
    assert all(torch.equal(x, given[m]) for m, x in mask_regions(given, present, ratio=1.0).items())
    masked = mask_regions(given, everything(TWO, 8), ratio=1.0)
    assert sum(not torch.equal(masked[m][i], given[m][i]) for m in TWO for i in range(8)) == 8


def test_masking_is_in_training_only_and_repeatable(monkeypatch):
    module, batch = make(mask_ratio=1.0), training_batch(TWO, 4)
    seen = []
    encode = module.network.encode
    monkeypatch.setattr(module.network, "encode", lambda given: seen.append(given) or encode(given))
    for _ in range(2):
        torch.manual_seed(5)
        module.train().training_losses(batch)
    module.eval()(batch["image"])
    module.mcrm = False
    module.train().training_losses(batch)
    for m in TWO:
        assert torch.equal(seen[0][m], seen[1][m])
        assert torch.equal(seen[2][m], batch["image"][m])
        assert torch.equal(seen[3][m], module.network.pad_to_patch(batch["image"][m]))
    assert any(not torch.equal(seen[0][m], seen[3][m]) for m in TWO)


def test_as_released_never_masks_the_first_modality_of_four_samples():
    for released in (True, False):
        module, batch = make(as_released=released).train(), training_batch(TWO, 4)
        given = {m: module.network.pad_to_patch(x) for m, x in batch["image"].items()}
        hits = set()
        for seed in range(12):
            torch.manual_seed(seed)
            masked = mask_regions(given, batch["available"], module.mask_ratio, module.as_released)
            hits |= {m for m in TWO if not torch.equal(masked[m], given[m])}
        assert hits == ({"dsm"} if released else {"rgb", "dsm"})


def test_hard_pixels():
    """Check 17."""
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 6, 7, requires_grad=True)
    mask = torch.randint(0, 3, (2, 6, 7))
    mask[0, :2] = 255
    before, hard = mask.clone(), hard_pixels(logits, mask)
    right = logits.argmax(1) == mask
    assert (
        (hard[right] == 255).all() and (hard[mask == 255] == 255).all() and not hard.requires_grad
    )
    wrong = ~right & (mask != 255)
    assert torch.equal(hard[wrong], mask[wrong]) and torch.equal(mask, before)


def test_auxiliary_loss_by_hand(monkeypatch):
    """The heads' cross-entropies over wrong pixels of all samples, summed; nothing flows into the
    choice.
    """
    torch.manual_seed(0)
    module, batch = make(mask_ratio=0.0).train(), training_batch(TWO)
    size = batch["mask"].shape[-2:]
    logits = torch.randn(2, 4, size[0] // 8, size[1] // 8, requires_grad=True)
    heads = {m: torch.randn(2, 4, size[0] // 8, size[1] // 8, requires_grad=True) for m in TWO}
    monkeypatch.setattr(module.network, "fuse", lambda encoded, present: (logits, {"heads": heads}))
    terms = module.training_losses(batch)
    maps = {**heads, "fused": logits}
    large = {m: torch.nn.functional.interpolate(x, size, mode="bilinear") for m, x in maps.items()}
    wrong = (large["fused"].argmax(1) != batch["mask"]) & (batch["mask"] != 255)
    rows = [
        large[m].log_softmax(1).movedim(1, -1)[wrong].gather(1, batch["mask"][wrong][:, None])
        for m in TWO
    ]
    torch.testing.assert_close(terms["hard"], -sum(row.mean() for row in rows))
    torch.testing.assert_close(terms["seg"], cross_entropy(large["fused"], batch["mask"]))
    terms["hard"].backward()
    assert logits.grad is None and all(x.grad.any() for x in heads.values())
    assert module.loss_weights == {"seg": 1.0, "hard": 0.01}


def test_a_perfect_prediction_has_no_auxiliary_loss(monkeypatch):
    module, batch = make().train(), training_batch(TWO)
    batch["mask"][:] = 2
    heads = {m: torch.randn(2, 4, 5, 9, requires_grad=True) for m in TWO}
    perfect = torch.zeros(2, 4, 5, 9).index_fill(1, torch.tensor([2]), 1.0)
    monkeypatch.setattr(
        module.network, "fuse", lambda encoded, present: (perfect, {"heads": heads})
    )
    loss = module.training_losses(batch)["hard"]
    loss.backward()
    assert loss == 0.0 and all(not x.grad.any() for x in heads.values())


def test_diagnostics_are_the_masks_a_training_step_would_draw():
    module, batch = make(THREE).eval(), training_batch(THREE, batch=4)
    torch.manual_seed(3)
    with torch.inference_mode():
        found = module.diagnostics(batch)
    torch.manual_seed(3)
    padded = {m: module.network.pad_to_patch(image) for m, image in batch["image"].items()}
    zeroed = mask_regions(padded, everything(THREE, 4))
    for m in THREE:
        changed = (zeroed[m] != padded[m]).any(1)[
            :, : batch["mask"].shape[1], : batch["mask"].shape[2]
        ]
        assert torch.equal(found[f"masked/{m}"].bool(), changed)
    assert sum(found[f"masked/{m}"].flatten(1).any(1).sum() for m in THREE) == 1
    with torch.inference_mode():
        wrong = (
            module(zeroed)[..., : batch["mask"].shape[1], : batch["mask"].shape[2]].argmax(1)
            != batch["mask"]
        )
    assert torch.equal(found["hard"].bool(), wrong & (batch["mask"] != 255))
    assert set(make(THREE, mcrm=False).eval().diagnostics(batch)) == {
        f"fused/{stage}" for stage in range(1, 5)
    }
