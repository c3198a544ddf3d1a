"""GEMMNet: the contract, what the network may see of a missing modality, and the dossier's algebra
(its section 12).
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from methods.gemmnet.module import GEMMNet
from methods.parts.modality_dropout import draw_subsets
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CLASSES,
    SIZE,
    THREE,
    TWO,
    default_options,
    images,
    subsets,
    training_batch,
)
from usererror import UserError

SMALL = {
    "generator_width": 2,
    "discriminator_width": 2,
    "token_width": 8,
    "heads": 2,
    "table_grid": 4,
}
PLAIN = {"hyfex": False, "hyfma": False, "coloss": False}
VARIANTS = {
    "gemmnet_cgan": {},
    "gemmnet_ae": {"rec": "l2"},
    "cgan": PLAIN,
    "ae": {**PLAIN, "rec": "l2"},
}


def make(modalities: dict[str, int] = TWO, seed: int = 0, **options) -> GEMMNet:
    torch.manual_seed(seed)
    return GEMMNet(modalities, CLASSES, **{**SMALL, **options})


# `gemmnet_ae` and `cgan` are built from the same two sets of parts
class TestGEMMNetCGAN(MethodContract):
    method = GEMMNet
    options = SMALL
    fewest = 2


class TestAE(MethodContract):
    method = GEMMNet
    options = {**SMALL, **VARIANTS["ae"]}
    fewest = 2
    counts = (3,)


def settled(modalities: dict[str, int] = TWO, **options) -> GEMMNet:
    """In eval mode after one pass in training, so that batch statistics are not their initial
    values.
    """
    module = make(modalities, **options)
    with torch.no_grad():
        module.train().training_losses(training_batch(modalities))
    return module.eval()


def show(module: GEMMNet, monkeypatch: pytest.MonkeyPatch, *kept: str) -> None:
    """Make training show these modalities and no others."""

    def draw(rule: str, available: dict[str, Tensor], per: str) -> dict[str, Tensor]:
        return {m: flags & (m in kept) for m, flags in available.items()}

    monkeypatch.setattr("methods.gemmnet.module.draw_subsets", draw)


# ---- nothing of the true missing raster reaches the network
# --------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"as_released": True}], ids=["default", "released"])
@pytest.mark.parametrize("kept", ["rgb", "dsm"])
def test_training_output_ignores_the_pixels_of_masked_modalities(kept, options, monkeypatch):
    """Check 5, the training flow: the fused output of an imputed step, the raster replaced by noise
    or taken away.
    """
    module = make(dropout=0.0, **options).train()
    show(module, monkeypatch, kept)
    batch, outputs = training_batch(TWO), []
    other = next(m for m in TWO if m != kept)
    for noise in (batch["image"][other], 5 * torch.randn_like(batch["image"][other]), None):
        changed = {**batch, "image": {**batch["image"], other: noise}}
        if noise is None:
            changed["image"].pop(other)
        state = {name: value.clone() for name, value in module.state_dict().items()}
        with torch.no_grad():
            entries, _ = module.synthesise_batch(changed)
            outputs.append(module.network.segment_complete(entries)[0])
        module.load_state_dict(state)
        assert not torch.equal(
            entries[other].image, module.network.scale_images(batch["image"][other])
        )
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["two", "three"])
def test_evaluation_ignores_the_pixels_of_missing_modalities(modalities):
    """Check 5, evaluation: whatever lies in the missing raster, in `encode` and in the masks of
    `fuse`.
    """
    module, given = settled(modalities), images(modalities)
    with torch.inference_mode():
        for subset in subsets(list(modalities)):
            noisy = {m: x if m in subset else 9 * torch.randn_like(x) for m, x in given.items()}
            present = {m: torch.full((2,), m in subset) for m in modalities}
            expected = module.decode(
                {m: e for m, e in module.encode(given).items() if m in subset}, SIZE
            )
            encoded = module.encode(noisy)
            assert torch.equal(module.decode({m: encoded[m] for m in subset}, SIZE), expected)
            masked = module.network.fuse(encoded, present)[0][..., : SIZE[0], : SIZE[1]]
            torch.testing.assert_close(masked, expected, rtol=1e-5, atol=1e-5)


def test_the_full_set_does_not_ask_the_generators():
    """Check 5, last part; and every smaller set does ask them."""
    module, given = settled(), images(TWO)
    with torch.inference_mode():
        encoded = module.encode(given)
        before = {s: module.decode({m: encoded[m] for m in s}, SIZE) for s in subsets(list(TWO))}
        for p in module.network.generators.parameters():
            p.mul_(-3.0)
        for subset, logits in before.items():
            same = torch.equal(module.decode({m: encoded[m] for m in subset}, SIZE), logits)
            assert same == (subset == tuple(TWO))


def test_inputs_stay_and_the_order_of_subsets_is_irrelevant():
    """Check 6."""
    module, given = settled(THREE), images(THREE)
    copies = {m: x.clone() for m, x in given.items()}
    with torch.inference_mode():
        encoded = module.encode(given)
        kept = {m: (e.image.clone(), e.maps[-1].clone()) for m, e in encoded.items()}
        order = list(subsets(list(THREE)))
        first = {s: module.decode({m: encoded[m] for m in s}, SIZE) for s in order}
        second = {s: module.decode({m: encoded[m] for m in s}, SIZE) for s in reversed(order)}
    assert all(torch.equal(first[s], second[s]) for s in order)
    assert all(torch.equal(given[m], copies[m]) for m in THREE)
    assert all(
        torch.equal(encoded[m].image, a) and torch.equal(encoded[m].maps[-1], b)
        for m, (a, b) in kept.items()
    )


# ---- what is painted
# -----------------------------------------------------------------------------------------------


def test_synthesised_modalities_come_back_as_z_scores():
    module, given = settled(THREE, input_range=2.5), images(THREE)
    with torch.inference_mode():
        encoded = module.encode(given)
        for subset in subsets(list(THREE)):
            kept = {m: encoded[m] for m in subset}
            painted, inner = module.synthesise(kept, SIZE), module.network.synthesise(kept)
            assert set(painted) == set(inner) == set(THREE) - set(subset)
            for m, picture in painted.items():
                assert picture.shape == given[m].shape and picture.abs().max() < 2.5
                assert inner[m].shape[-2:] == (48, 80) and inner[m].abs().max() < 1
                assert torch.equal(picture, 2.5 * inner[m][..., : SIZE[0], : SIZE[1]])
            assert set(module.network.fuse(kept)[1]["synthesised"]) == set(inner)


def test_the_input_range_is_clamped_standard_deviations():
    network = make(input_range=3.0).network
    scaled = network.scale_images(
        torch.tensor([-9.0, -3.0, -1.5, 0.0, 3.0, 7.0]).reshape(1, 1, 1, 6)
    )
    assert scaled.shape == (1, 1, 32, 32)
    assert scaled[0, 0, 0, :6].tolist() == [-1.0, -1.0, -0.5, 0.0, 1.0, 1.0]
    assert (scaled[0, 0, :, 6:] == 1.0).all(), "the edge is replicated"


def test_sources_with_more_than_two_modalities():
    """Dossier section 9: the others in order, zeros where unseen, a plane per other modality."""
    network, given = make(THREE).network, images(THREE)
    seen = {"dsm": torch.tensor([True, False]), "sar": torch.tensor([False, True])}
    source = network.generator_source("rgb", given, seen)
    assert source.shape == (2, 1 + 2 + 2, *SIZE) and network.source_channels("rgb") == 5
    assert torch.equal(source[0, :1], given["dsm"][0]) and not source[1, :1].any()
    assert torch.equal(source[1, 1:3], given["sar"][1]) and not source[0, 1:3].any()
    assert [
        (plane[0].unique().item(), plane[1].unique().item())
        for plane in (source[:, 3], source[:, 4])
    ] == [(1.0, 0.0), (0.0, 1.0)]
    absent = network.generator_source("rgb", {"sar": given["sar"]}, {"sar": seen["sar"]})
    assert torch.equal(absent[1], source[1]), "an absent key is an unseen modality"
    two = make(TWO).network
    assert torch.equal(two.generator_source("rgb", given, seen)[0], given["dsm"][0]), (
        "with two there is nothing to say"
    )


# ---- options and files
# ---------------------------------------------------------------------------------------------


RELEASED = {
    "norm": "layer",
    "layout": "sequential",
    "scale_heads": "decoder",
    "d_condition": "target",
    "update": "joint_sgd",
    "rec_when": "missing",
}


def test_one_switch_is_all_released_behaviours():
    one, many = make(as_released=True), make(**RELEASED)
    assert {n: p.shape for n, p in one.named_parameters()} == {
        n: p.shape for n, p in many.named_parameters()
    }
    assert (
        one.network.layout is many.network.layout
        and one.network.condition == many.network.condition == "target"
    )
    for module in (one, many):
        assert module.automatic_optimization and (module.update, module.rec_when) == (
            "joint_sgd",
            "missing",
        )
    batch, losses = training_batch(TWO), []
    for module in (one, many):
        torch.manual_seed(4)
        losses.append(module.weighted_sum(module.train().training_losses(batch)))
    assert torch.equal(*losses)
    default = default_options(GEMMNet)
    assert all(default[name] != value for name, value in RELEASED.items()), (
        "the defaults are the corrected ones"
    )


def test_subsets_are_drawn_alike_and_one_for_the_batch():
    """Check 11: the three cases of two modalities with a third each."""
    module, counts = make(), torch.zeros(4)
    available = module.available({"image": images(TWO), "mask": torch.zeros(2, *SIZE)})
    assert all(flags.tolist() == [True, True] for flags in available.values())
    torch.manual_seed(0)
    for _ in range(3000):
        rgb, dsm = draw_subsets(module.subsets, available, module.subsets_per).values()
        assert rgb[0] == rgb[1] and dsm[0] == dsm[1]
        counts[int(rgb[0]) + 2 * int(dsm[0])] += 1
    assert counts[0] == 0 and ((counts[1:] / 3000 - 1 / 3).abs() < 0.03).all()


@pytest.mark.parametrize(
    "options", [*VARIANTS.values(), {"as_released": True}, {"subsets_per": "sample"}]
)
def test_training_with_modalities_that_are_really_missing(options):
    module, batch = make(THREE, **options).train(), training_batch(THREE)
    batch["image"].pop("dsm")
    batch["available"]["sar"][0] = False
    batch["image"]["sar"][0] = torch.nan
    loss = module.weighted_sum(module.training_losses(batch))
    loss.backward()
    assert loss.isfinite() and all(
        p.grad.isfinite().all() for p in module.parameters() if p.grad is not None
    )
    pairs = {pair.modality: pair for pair in module.synthesise_batch(batch)[1]}
    assert "dsm" not in pairs, "nothing to compare a picture with"
    assert "sar" not in pairs or (
        len(pairs["sar"].fake) == 1 and pairs["sar"].real.isfinite().all()
    )


def test_shipped_configs():
    folder = Path(__file__).resolve().parents[3] / "configs" / "method"
    principal = yaml.safe_load((folder / "gemmnet_cgan.yaml").read_text())
    options = principal["model"]["init_args"]
    default = default_options(GEMMNet)
    assert all(options[name] == default[name] for name in RELEASED)
    assert (
        options["optimizer"]["lr"],
        options["optimizer"]["betas"],
        options["discriminator_lr"],
    ) == (2e-4, [0.5, 0.999], 2e-4)
    full = GEMMNet(TWO, CLASSES, **{k: v for k, v in options.items() if k != "optimizer"})
    assert all(
        full.hparams[name] == value for name, value in options.items() if name != "optimizer"
    )
    for name, wanted in VARIANTS.items():
        content = yaml.safe_load((folder / f"{name}.yaml").read_text())
        assert content["cell"] == {"method": "gemmnet_cgan", "variant": name}
        if name != "gemmnet_cgan":
            assert content["model"]["init_args"] == wanted


def test_what_cannot_be_configured():
    with pytest.raises(UserError, match="at least two"):
        make({"rgb": 3})
    with pytest.raises(UserError, match="3 heads do not divide"):
        make(heads=3)
