"""SGMA fulfils the contract; training branch, variants and options behave as the dossier says
(sections 5, 6, 16).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.parts.losses import cross_entropy
from methods.parts.optim import Recipe
from methods.sgma.module import SGMA
from methods.sgma.network import sampling_probabilities
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CLASSES,
    SMALL,
    THREE,
    check_eval_follows_training,
    check_trains_and_stays_exact,
    images,
    training_batch,
)
from usererror import UserError


class TestSGMA(MethodContract):
    method = SGMA
    options = SMALL


class TestAdditive(MethodContract):
    method = SGMA
    options = {**SMALL, "fusion": "additive", "mas": False}


make = TestSGMA.make


def mas_gradients(module: SGMA) -> tuple[dict[str, Tensor], list[set[str]]]:
    """Largest absolute gradient of L_MAS per parameter, and per scale the names of the drawn
    modalities.
    """
    batch = training_batch(THREE)
    _, single, extras = module.network.forward_train(batch["image"])
    cross_entropy(single, batch["mask"]).backward()
    drawn = [{extras["modalities"][i] for i in index.tolist()} for index in extras["draws"]]
    gradients = {
        n: 0.0 if p.grad is None else float(p.grad.abs().max())
        for n, p in module.network.named_parameters()
    }
    return gradients, drawn


def unreached(name: str, drawn: list[set[str]]) -> bool:
    """Whether dossier 5 says that L_MAS cannot reach the parameter."""
    parts = name.split(".")
    if parts[0] != "sgf":
        return False
    if parts[2] == "projectors":
        return parts[3] not in drawn[int(parts[1])]
    return parts[2] in ("semantic_filter", "sp") or parts[2:4] in (["rp", "query"], ["rp", "key"])


@pytest.mark.parametrize("options", [{}, {"head_calls": "separate"}, {"head_norm": "ln"}])
def test_reach_of_the_sampling_loss(options):
    module = make(**options).train()
    if not options:
        module.network.head.norm.eval()
    gradients, drawn = mas_gradients(module)
    cut = {name for name in gradients if unreached(name, drawn)}
    assert any("projectors" in name for name in cut)
    assert {name for name, value in gradients.items() if value == 0} == cut


def test_packed_batch_statistics_couple_the_branches():
    gradients, drawn = mas_gradients(make().train())
    cut = [name for name in gradients if unreached(name, drawn)]
    assert all(gradients[name] > 0 for name in cut if name.endswith("weight"))


def test_the_branch_is_the_drawn_modality_alone():
    module = make(mas_scope="per_image", head_dropout=0.0).train()
    module.network.head.norm.eval()
    given = images(THREE, batch=4)
    with torch.no_grad():
        full, single, extras = module.network.forward_train(given)
        alone = {m: module({m: given[m]}) for m in THREE}
        torch.testing.assert_close(full, module(given), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(index, extras["draws"][0]) for index in extras["draws"])
    for sample, index in enumerate(extras["draws"][0].tolist()):
        expected = alone[extras["modalities"][index]][sample]
        torch.testing.assert_close(single[sample], expected, rtol=1e-4, atol=1e-5)


def test_chances_come_from_the_robustness_of_each_scale():
    module, given = make().train(), images(THREE)
    _, _, extras = module.network.forward_train(given)
    for s, r in zip(extras["sampling"], extras["robustness"], strict=True):
        assert not s.requires_grad and r.requires_grad
        torch.testing.assert_close(s, sampling_probabilities(r))


def test_one_draw_for_the_batch():
    module = make(mas_draw="batch").train()
    for seed in range(5):
        torch.manual_seed(seed)
        draws = module.network.forward_train(images(THREE, batch=3, size=(32, 32)))[2]["draws"]
        assert all(len(set(index.tolist())) == 1 for index in draws)


def test_scales_are_drawn_independently():
    module, seen = make().train(), set()
    for seed in range(4):
        torch.manual_seed(seed)
        draws = module.network.forward_train(images(THREE, size=(32, 32)))[2]["draws"]
        seen |= {tuple(index[sample].item() for index in draws) for sample in range(2)}
    assert any(len(set(across)) > 1 for across in seen)


def test_absent_modalities_of_a_sample_are_not_drawn():
    module = make().train()
    present = {
        "rgb": torch.tensor([False, True]),
        "dsm": torch.tensor([True, True]),
        "sar": torch.tensor([False, True]),
    }
    extras = module.network.forward_train(images(THREE), present)[2]
    for index, r in zip(extras["draws"], extras["robustness"], strict=True):
        assert extras["modalities"][index[0]] == "dsm"
        assert (r[1, 0] == 1).all() and (r[0, 0] == 0).all()


def test_terms_of_the_variants():
    batch = training_batch(THREE)
    assert set(make().training_losses(batch)) == {"sgf", "mas"}
    assert set(make(mas=False).training_losses(batch)) == {"sgf"}
    assert set(make(fusion="additive", mas=False).training_losses(batch)) == {"additive"}
    one = {**batch, "image": {"dsm": batch["image"]["dsm"]}}
    assert set(make().training_losses(one)) == {"sgf"}
    assert make().loss_weights == {"sgf": 2.0, "mas": 1.0, "additive": 1.0}


def test_additive_fusion_is_the_sum_of_the_encoders_maps():
    module, given = make(fusion="additive", mas=False).eval(), images(THREE)
    with torch.inference_mode():
        features = module.network.fuse(module.encode(given))[1]["features"]
        alone = [module.network.encoder({m: image})[m] for m, image in given.items()]
    for scale, feature in enumerate(features):
        torch.testing.assert_close(
            feature, sum(maps[scale] for maps in alone), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    "options",
    [
        {"proto_norm": "none", "mp_mode": "sequential", "attn_bias": True, "kernels": (3, 5)},
        {
            "proto_norm": "softmax",
            "mas_draw": "batch",
            "mas_scope": "per_image",
            "pointwise_bias": False,
        },
        {
            "head_norm": "ln",
            "head_calls": "separate",
            "depthwise_bias": True,
            "sp_heads": 4,
            "rp_heads": 8,
        },
        {"backbone": "resnet50", "head_width": 8},
        {"reduction": [16, 16, 32, 32]},
    ],
    ids=["a", "b", "c", "resnet50", "reduced"],
)
def test_options_train_and_stay_exact(options):
    check_trains_and_stays_exact(make(**options))


def test_a_step_at_the_dossiers_size():
    """Two samples, three modalities of three channels, 256 x 256, with AdamW: every parameter
    moves.
    """
    module = make({"rgb": 3, "dsm": 3, "nir": 3}, optimizer=Recipe(lr=1e-3)).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    before = [p.clone() for p in module.parameters()]
    generator = torch.Generator().manual_seed(0)
    given = {m: torch.randn(2, 3, 256, 256, generator=generator) for m in module.modalities}
    mask = torch.randint(0, CLASSES, (2, 256, 256), generator=generator)
    module.weighted_sum(module.training_losses({"image": given, "mask": mask})).backward()
    optimizer.step()
    pairs = zip(module.named_parameters(), before, strict=True)
    # an undrawn modality is still trained through the fused branch
    assert [name for (name, p), old in pairs if torch.equal(p, old)] == []


def test_what_cannot_be_configured():
    with pytest.raises(UserError, match="mas: false"):
        make(fusion="additive")
    with pytest.raises(UserError, match="no backbone resnet5"):
        make(backbone="resnet5")
    with pytest.raises(UserError, match="heads"):
        make(sp_heads=5)


def test_eval_follows_training_after_evaluation():
    """Folded weights of one eval phase must not survive into the next, and folding leaves training
    intact.
    """
    check_eval_follows_training(make, THREE)


def test_diagnostics_hold_what_the_paper_plots():
    """Dossier 13: r per modality and scale, s as the mean of the inverted r (eq. 11), features
    before and after.
    """
    module, batch = make().eval(), training_batch(THREE)
    with torch.inference_mode():
        found = module.diagnostics(batch)
    kinds = [name.split("/")[0] for name in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "fused": 4,
        "features": 12,
        **dict.fromkeys(("robustness", "sampling", "draws"), 12),
    }
    for scale in range(1, 5):
        maps = np.stack([found[f"robustness/{m}/{scale}"].double().numpy() for m in THREE])
        share = (1 / maps) / (1 / maps).sum(0)
        for m, expected in zip(THREE, share.mean((2, 3)), strict=True):
            np.testing.assert_allclose(found[f"sampling/{m}/{scale}"].numpy(), expected, rtol=1e-5)
            assert found[f"features/{m}/{scale}"].shape == found[f"fused/{scale}"].shape
    with torch.inference_mode():
        logits = module.network.head([found[f"fused/{scale}"] for scale in range(1, 5)])
        torch.testing.assert_close(logits, module.network.fuse(module.encode(batch["image"]))[0])


def test_diagnostics_without_the_parts_that_have_them():
    batch = training_batch(THREE)
    with torch.inference_mode():
        alone = make(mas=False).eval().diagnostics(batch)
        plain = make(fusion="additive", mas=False).eval().diagnostics(batch)
    assert {name.split("/")[0] for name in alone} == {"fused", "features", "robustness"}
    assert {name.split("/")[0] for name in plain} == {"fused", "features"}
    for scale in range(1, 5):
        torch.testing.assert_close(
            plain[f"fused/{scale}"], sum(plain[f"features/{m}/{scale}"] for m in THREE)
        )


def test_draws_follow_their_analytic_law():
    """One-pixel maps r = (0.5, 0.3, 0.2): s is 1/r over its sum, and draws stay within four
    standard deviations.
    """
    shares, samples = np.array([0.5, 0.3, 0.2]), 20_000
    expected = (1 / shares) / (1 / shares).sum()
    network, maps = make().network, torch.tensor(shares, dtype=torch.float32)[:, None, None, None]
    torch.manual_seed(0)
    for drawn in network.draw_per_scale([maps.expand(-1, samples, 1, 1)] * 4, None)[1]:
        counts = np.bincount(drawn.numpy(), minlength=3)
        assert (
            abs(counts - samples * expected) < 4 * np.sqrt(samples * expected * (1 - expected))
        ).all()


@pytest.mark.parametrize("options", [{}, {"fusion": "additive", "mas": False}])
def test_a_complete_batch_trains_bit_for_bit_as_without_masks(options):
    batch, found = training_batch(THREE), []
    for available in (None, batch["available"]):
        module = make(**options).train()
        torch.manual_seed(3)
        full, single, _ = module.network.forward_train(batch["image"], available)
        loss = full.square().mean() + (0 if single is None else single.square().mean())
        loss.backward()
        found.append((loss.detach(), {n: p.grad for n, p in module.named_parameters()}))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
