"""MuSS by concatenation fulfils the contract and the dossier's checks (section 5); counts of
sections 4.1 and 4.7.
"""

from __future__ import annotations

from math import cos, pi

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from methods.muss.experts import phase_offsets
from methods.muss.module import MuSS
from methods.muss.network import MuSSNetwork
from methods.parts.heads import to_image_size
from methods.parts.losses import cross_entropy
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CHANNELS,
    CLASSES,
    SIZE,
    SMALL,
    THREE,
    images,
    subsets,
    training_batch,
)
from usererror import UserError

WIDTHS, SIDES = (64, 128, 320, 512), (128, 64, 32, 16)
MISSING = ("zero_feature", "zero_image", "mean_feature")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


class TestConcat(MethodContract):
    method = MuSS
    options = SMALL


class TestMeanFeature(MethodContract):
    method = MuSS
    # the gates of narrower maps have one hidden unit, which a ReLU may close
    options = {
        **SMALL,
        "backbone": "pvt_v2_b0",
        "missing": "mean_feature",
        "experts": True,
        "trained_phases": True,
    }


make = TestConcat.make


def settled(modalities: dict[str, int] = THREE, steps: int = 2, **options) -> MuSS:
    """In eval mode after a few optimisation steps."""
    module = make(modalities, **options).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    for seed in range(steps):
        module.weighted_sum(
            module.training_losses(training_batch(modalities, seed=seed))
        ).backward()
        optimizer.step()
        optimizer.zero_grad()
    return module.eval()


def literal(
    module: MuSS, given: dict[str, Tensor], fill: dict[str, list[Tensor]] | None = None
) -> Tensor:
    """The equations of 4.1: every position of the concatenation is filled, then 1x1, BN, ReLU, 1x1,
    head.
    """
    network = module.network
    features = network.encoder(given)
    like = next(iter(features.values()))
    maps = []
    for scale, fusion in enumerate(network.fusion):
        blocks = []
        for m in network.modalities:
            block = features[m][scale] if m in features else torch.zeros_like(like[scale])
            if m not in features and fill is not None:
                block = fill[m][scale].expand_as(block)
            elif m in features and fusion.experts:
                block = fusion.experts[m](block)
            blocks.append(block)
        maps.append(fusion.second(F.relu(fusion.norm(fusion.first(torch.cat(blocks, 1))))))
    return to_image_size(network.head(maps), next(iter(given.values())).shape[-2:])


@pytest.mark.parametrize("options", [{}, {"experts": True}, {"backbone": "resnet50"}])
def test_partial_sums_equal_the_concatenation(options):
    module, given = settled(**options), images(THREE)
    with torch.inference_mode():
        encoded = module.encode(given)
        for subset in subsets(list(THREE)):
            cached = module.decode({m: encoded[m] for m in subset}, SIZE)
            torch.testing.assert_close(
                cached, literal(module, {m: given[m] for m in subset}), **CLOSE
            )


def test_zero_images_take_the_place_of_what_is_missing():
    module, given = settled(missing="zero_image"), images(THREE)
    with torch.inference_mode():
        encoded = module.encode(given)
        for subset in subsets(list(THREE)):
            filled = {m: given[m] if m in subset else torch.zeros_like(given[m]) for m in THREE}
            cached = module.decode({m: encoded[m] for m in subset}, SIZE)
            torch.testing.assert_close(cached, literal(module, filled), **CLOSE)


def test_features_of_zero_images_are_kept_between_calls_and_made_anew_after_a_change():
    module, given = settled(missing="zero_image"), images(THREE)
    calls: list[int] = []
    module.network.encoder.pyramid.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        encoded = {"rgb": module.encode(given)["rgb"]}
        first = module.decode(encoded, SIZE)
        assert torch.equal(module.decode(encoded, SIZE), first) and len(calls) == 2
        small = images(THREE, size=(32, 32))
        filled = {m: small[m] if m == "rgb" else torch.zeros_like(small[m]) for m in THREE}
        torch.testing.assert_close(module({"rgb": small["rgb"]}), literal(module, filled), **CLOSE)
    with torch.no_grad():
        module.network.fusion[0].first.weight.mul_(2)
        assert not torch.allclose(module.decode(encoded, SIZE), first, atol=1e-3)


def test_running_means_are_those_of_training():
    """One batch sets them; a second moves them by a tenth; they fill the positions of what is
    missing.
    """
    module, expected = make(missing="mean_feature").train(), {}
    for seed, share in ((0, 1.0), (1, 0.1)):
        given = images(THREE, seed=seed)
        with torch.no_grad():
            for m, maps in module.network.encoder(given).items():
                now = [feature.mean((0, 2, 3), keepdim=True) for feature in maps]
                old = expected.get(m, now)
                expected[m] = [(1 - share) * a + share * b for a, b in zip(old, now, strict=True)]
            torch.manual_seed(0)
            module.encode(given)
    module.eval()
    with torch.inference_mode():
        encoded = module.encode(given)
        for subset in subsets(list(THREE)):
            cached = module.decode({m: encoded[m] for m in subset}, SIZE)
            torch.testing.assert_close(
                cached, literal(module, {m: given[m] for m in subset}, expected), **CLOSE
            )


@pytest.mark.parametrize("missing", MISSING)
def test_masked_samples_equal_absent_ones(missing):
    module, given = settled(missing=missing), images(THREE)
    with torch.inference_mode():
        encoded = module.encode(given)
        for subset in subsets(list(THREE)):
            present = {m: torch.tensor([m in subset, True]) for m in THREE}
            masked = module.network.fuse(encoded, present)[0]
            torch.testing.assert_close(
                masked[0], module.network.fuse({m: encoded[m] for m in subset})[0][0], **CLOSE
            )
            torch.testing.assert_close(masked[1], module.network.fuse(encoded)[0][1], **CLOSE)


def test_the_encoder_runs_for_what_is_there_only():
    module, seen = settled(), []
    module.network.encoder.pyramid.register_forward_pre_hook(
        lambda _, inputs: seen.append(len(inputs[0]))
    )
    with torch.inference_mode():
        module({m: images(THREE)[m] for m in ("rgb", "sar")})
    assert sum(seen) == 2 * 2, "two samples of two modalities"


def test_the_order_of_modalities_matters():
    same = {"a": 3, "b": 3, "c": 3}
    module, given = settled(same), images(same)
    with torch.inference_mode():
        swapped = module({"a": given["b"], "b": given["a"], "c": given["c"]})
        assert not torch.allclose(swapped, module(given), atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("backbone", ["pvt_v2_b2", "resnet50"])
def test_shapes_for_both_backbones(backbone, count):
    names = list(CHANNELS)[:count]
    with torch.device("meta"):
        network = MuSSNetwork(names, 5, backbone=backbone)
        given = {m: torch.zeros(2, CHANNELS[m], 64, 96) for m in names}
        mask = {m: torch.ones(2, dtype=torch.bool) for m in names}
    main, aux = network.train().forward_train(given, mask)
    assert main.shape == aux.shape == (2, 5, 64, 96)
    assert network.eval()(given).shape == (2, 5, 64, 96)
    assert "aux" not in network.fuse(network.encode(given))[1]


def test_without_the_auxiliary_head():
    module = make(aux=False).train()
    assert set(module.training_losses(training_batch(THREE))) == {"main"}
    assert set(make().train().training_losses(training_batch(THREE))) == {"main", "aux"}


def test_losses_are_cross_entropies_of_the_full_set():
    module, batch = make(head_dropout=0.0).train(), training_batch(THREE)
    with torch.no_grad():
        logits, extras = module.network.fuse(module.encode(batch["image"]))
        terms = module.training_losses(batch)
        main, aux = to_image_size(logits, SIZE), to_image_size(extras["aux"], SIZE, 16)
        torch.testing.assert_close(
            terms["main"], cross_entropy(main, batch["mask"]), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            terms["aux"], cross_entropy(aux, batch["mask"]), rtol=1e-4, atol=1e-5
        )


def reached(module: MuSS, batch: dict) -> list[set[str]]:
    """Per sample the modalities whose pixels the training loss depends on."""
    given = {m: image.requires_grad_() for m, image in batch["image"].items()}
    module.weighted_sum(module.training_losses({**batch, "image": given})).backward()
    return [
        {m for m, image in given.items() if image.grad[sample].any()}
        for sample in range(len(batch["mask"]))
    ]


def test_training_masks_nothing_by_default(monkeypatch):
    module, batch, masks = make().train(), training_batch(THREE), []
    fuse = MuSSNetwork.fuse
    monkeypatch.setattr(
        MuSSNetwork, "fuse", lambda self, e, p=None: masks.append(p) or fuse(self, e, p)
    )
    assert reached(module, batch) == [set(THREE)] * 2
    assert [set(present) for present in masks] == [set(THREE)]
    assert all(mask.all() for mask in masks[0].values())


@pytest.mark.parametrize("missing", MISSING)
def test_dropout_trains_on_what_was_drawn(missing):
    module, seen = make(subsets="any_subset", missing=missing).train(), set()
    for seed in range(3):
        torch.manual_seed(seed)
        found = reached(module, training_batch(THREE, batch=4, seed=seed))
        assert all(found)
        seen |= set(map(frozenset, found))
    assert len(seen) > 2


def test_zero_images_in_training_leave_the_encoder_finite_and_its_statistics_alone():
    """Zeros through a fresh encoder have no usable gradient, and are no training data for batch
    norms.
    """
    for backbone in ("pvt_v2_b0", "resnet50"):
        module = make(backbone=backbone, missing="zero_image", experts=True).train()
        seen = []
        batch = training_batch(THREE)
        module.network.encoder.pyramid.register_forward_hook(
            lambda part, _, __, seen=seen: seen.append(part.training)
        )
        present = {m: torch.tensor([True, m == "rgb"]) for m in THREE}
        module.network.forward_train(batch["image"], present)[0].square().mean().backward()
        assert seen == [True, False]
        assert all(part.training for part in module.modules())
        assert all(p.grad.isfinite().all() for p in module.network.encoder.parameters())
        counts = [b for name, b in module.named_buffers() if name.endswith("num_batches_tracked")]
        # the auxiliary head runs in training too
        assert {int(count) for count in counts} == {1}


@pytest.mark.parametrize("missing", MISSING)
def test_a_batch_that_lacks_a_modality_trains_with_the_others(missing):
    batch = training_batch(THREE)
    del batch["image"]["dsm"]
    batch["available"]["dsm"] = torch.zeros(2, dtype=torch.bool)
    assert reached(make(missing=missing).train(), batch) == [{"rgb", "sar"}] * 2


def test_weight_of_the_auxiliary_loss_falls_over_the_training():
    module = make()
    assert module.aux_weight(0.0) == 0.5 and module.aux_weight(1.0) == pytest.approx(0.4)
    seen = []

    class Watched(MuSS):
        def weighted_sum(self, terms):
            total = super().weighted_sum(terms)
            seen.append(((total - terms["main"]) / terms["aux"]).item())
            return total

    torch.manual_seed(0)
    watched = Watched(THREE, CLASSES, **SMALL)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    batches = [training_batch(THREE, seed=seed) for seed in range(5)]
    trainer.fit(watched, DataLoader(batches, batch_size=None))
    assert seen == pytest.approx([0.5, 0.48, 0.46, 0.44, 0.42], abs=1e-3)


def test_phases():
    """Dossier 2.1: M = 2, 3, 4 in printed digits, and none for a lone modality."""
    assert [round(p, 3) for p in phase_offsets(2)] == [1, 0.391]
    assert [round(p, 3) for p in phase_offsets(3)] == [1, 0.707, 0]
    assert [round(p, 3) for p in phase_offsets(4)] == [1, 0.839, 0.407, -0.156]
    assert phase_offsets(1) == [0.0]
    assert phase_offsets(5) == pytest.approx([cos(27 * m * pi / 180) for m in range(5)])


def test_phases_are_saved_and_trained_on_request():
    fixed, trained = make(experts=True), make(experts=True, trained_phases=True)
    name = "network.fusion.0.experts.dsm.phase"
    assert name in fixed.state_dict() and name not in dict(fixed.named_parameters())
    assert name in trained.state_dict() and name in dict(trained.named_parameters())


def test_what_cannot_be_configured():
    with pytest.raises(UserError, match="zero_image"):
        make(fusion="early")
    with pytest.raises(UserError, match="fusion: early"):
        make(gate=True)
