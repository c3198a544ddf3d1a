"""The training branches of MAGIC: selection, targets, consistency, samples that lack modalities
(dossier 4 and 5).
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from methods.magic.losses import filtered_targets
from methods.parts.losses import cross_entropy
from tests.methods.magic.test_magic import LEVELS, frozen, make
from tests.support.method_checks import (
    FOUR,
    SIZE,
    THREE,
    TWO,
    images,
    training_batch,
)


def test_training_branch_reads_the_selected_maps():
    """f_sa is phi_max of the most similar and phi_min of the least similar map of each sample, by
    brute force.
    """
    module, given = frozen(FOUR), images(FOUR, batch=3)
    with torch.no_grad():
        step = module.network.forward_train(given)
        kept = module.network._encode(given)
        scale = module.network.mam[0]
        fused = sum(one.votes[0] for one in kept.values()) / 4
        for sample in range(3):
            scores = [
                float(
                    F.cosine_similarity(
                        fused[sample].flatten(), kept[m].maps[0][sample].flatten(), dim=0
                    )
                )
                for m in FOUR
            ]
            order = sorted(range(4), key=scores.__getitem__)
            assert (int(step.selection.last[sample]), int(step.selection.top[sample])) == (
                order[0],
                order[-1],
            )
            assert set(step.selection.rest[:, sample].nonzero().flatten().tolist()) == set(
                order[1:-1]
            )
            top, last = (
                kept[step.modalities[i]].maps[0][sample : sample + 1] for i in (order[-1], order[0])
            )
            expected = scale.salient["top"](top) + scale.salient["last"](last)
            torch.testing.assert_close(
                step.salient[0][sample : sample + 1], expected, rtol=1e-4, atol=1e-5
            )
        upsampled = F.interpolate(
            step.salient[0], scale_factor=4, mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(
            step.selected, upsampled[..., : SIZE[0], : SIZE[1]], rtol=1e-5, atol=1e-5
        )


def test_features_are_ranked_by_the_mean_over_scales_and_decoded_by_the_same_head():
    module, given = frozen(level="features"), images(THREE)
    network = module.network
    with torch.no_grad():
        step, kept = network.forward_train(given), network._encode(given)
        scores = torch.zeros(3, 2)
        for i in range(4):
            fused = sum(one.votes[i] for one in kept.values()) / 3
            for row, one in enumerate(kept.values()):
                scores[row] += F.cosine_similarity(fused.flatten(1), one.maps[i].flatten(1)) / 4
        torch.testing.assert_close(step.selection.scores, scores, rtol=1e-4, atol=1e-5)
        logits = F.interpolate(
            network.head(step.salient), scale_factor=4, mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(
            step.selected, logits[..., : SIZE[0], : SIZE[1]], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("level", LEVELS)
def test_terms_against_the_equations(level):
    """L_M and L_S from the branches; L_C is 0 for two and three modalities and positive for four
    (check 7).
    """
    for modalities in (TWO, THREE, FOUR):
        module, batch = frozen(modalities, level=level), training_batch(modalities)
        terms = module.training_losses(batch)
        step = module.network.forward_train(batch["image"])
        assert set(terms) == {"main", "selection", "consistency"}
        torch.testing.assert_close(
            terms["main"], F.cross_entropy(step.main, batch["mask"], ignore_index=255)
        )
        right = (step.main.argmax(1) == batch["mask"]) & (batch["mask"] != 255)
        rows = step.selected.permute(0, 2, 3, 1)[right]
        torch.testing.assert_close(terms["selection"], F.cross_entropy(rows, batch["mask"][right]))
        assert (terms["consistency"] > 0) == (len(modalities) > 3)


def test_one_modality_trains_the_main_branch_only():
    batch = training_batch(THREE)
    one = {**batch, "image": {"dsm": batch["image"]["dsm"]}}
    for level in LEVELS:
        assert set(make(level=level).train().training_losses(one)) == {"main"}
        single = make({"dsm": 1}, level=level).train()
        assert set(single.training_losses(one)) == {"main"}
        assert not any("salient" in name for name, _ in single.named_parameters())


def test_no_gradient_through_ranking_or_targets():
    """Check 6: L_S reaches neither f_se's own phi nor anything else through the comparison with the
    main prediction.
    """
    module, batch = frozen(), training_batch(THREE)
    module.training_losses(batch)["selection"].backward()
    reached = {
        name for name, p in module.network.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert not any(".phi." in name for name in reached)
    assert any("salient.top" in name for name in reached) and any(
        "salient.last" in name for name in reached
    )
    assert any(name.startswith("encoder") for name in reached)


@pytest.mark.parametrize("level", LEVELS)
def test_samples_that_lack_modalities_in_training(level):
    """One sample has one sensor, one has two, one has all four; only what they have counts."""
    module = frozen(FOUR, level=level)
    have = [("sar",), ("rgb", "event"), tuple(FOUR)]
    batch = training_batch(FOUR, batch=3)
    batch["available"] = {m: torch.tensor([m in names for names in have]) for m in FOUR}
    terms = module.training_losses(batch)
    step = module.network.forward_train(batch["image"], batch["available"])
    assert step.selection.pair.tolist() == [False, True, True]
    assert step.selection.rest.sum(0).tolist() == [0, 0, 2]
    two = {step.modalities[i] for i in (int(step.selection.top[1]), int(step.selection.last[1]))}
    assert two == {"rgb", "event"}
    alone = [
        module.network.forward_train({m: batch["image"][m][i : i + 1] for m in FOUR if m in names})
        for i, names in enumerate(have)
    ]
    torch.testing.assert_close(
        step.main, torch.cat([one.main for one in alone]), rtol=1e-4, atol=1e-5
    )
    selected = torch.cat([one.selected for one in alone[1:]])
    torch.testing.assert_close(step.selected[1:], selected, rtol=1e-4, atol=1e-5)
    expected = cross_entropy(selected, filtered_targets(step.main, batch["mask"])[1:])
    torch.testing.assert_close(terms["selection"], expected, rtol=1e-4, atol=1e-5)
    full = {
        **{k: {m: v[2:] for m, v in batch[k].items()} for k in ("image", "available")},
        "mask": batch["mask"][2:],
    }
    torch.testing.assert_close(
        terms["consistency"], module.training_losses(full)["consistency"], rtol=1e-3, atol=1e-7
    )


@pytest.mark.parametrize("level", LEVELS)
def test_empty_targets_give_zero(level):
    """Check 6, defect D7: nothing predicted rightly, as may happen early."""
    module, batch = make(level=level).train(), training_batch(THREE)
    batch["mask"] = torch.where(batch["mask"] == 255, 255, 0)
    with torch.no_grad():
        module.network.head.classifier.bias[0] = -1e4
    terms = module.training_losses(batch)
    assert terms["selection"] == 0
    module.weighted_sum(terms).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_subset_rules_reach_the_network():
    """`full` draws nothing; another rule hides modalities from both branches."""
    batch = training_batch(THREE, batch=4)
    module, seen = frozen(), []
    forward = module.network.forward_train
    module.network.forward_train = lambda given, present: (
        seen.append(present) or forward(given, present)
    )
    before = torch.get_rng_state()
    module.training_losses(batch)
    assert torch.equal(before, torch.get_rng_state()) and all(p.all() for p in seen[-1].values())
    module.subsets = "any_subset"
    for seed in range(5):
        torch.manual_seed(seed)
        module.training_losses(batch)
        assert torch.stack(list(seen[-1].values())).any(0).all()
    assert not all(p.all() for present in seen for p in present.values())


def test_rest_to_the_salient_map():
    """Off by default; for three modalities it is the only consistency, and it does not move the
    salient map.
    """
    batch = training_batch(THREE)
    assert frozen().training_losses(batch)["consistency"] == 0
    module = frozen(rest_to_sa=True)
    value = module.training_losses(batch)["consistency"]
    value.backward()
    assert value > 0
    assert all(
        p.grad is None or not p.grad.any() for p in module.network.mam[0].salient.parameters()
    )
    assert frozen(TWO, rest_to_sa=True).training_losses(training_batch(TWO))["consistency"] == 0
