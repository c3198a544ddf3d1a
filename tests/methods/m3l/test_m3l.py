"""M3L fulfils the contract; masking, tokens, losses and options behave as the dossier says
(sections 5.4 - 6).
"""

from __future__ import annotations

from math import exp
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from methods.m3l.module import M3L, hard_pixel_cross_entropy
from methods.parts.losses import cross_entropy
from methods.parts.optim import parameter_groups
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CHANNELS,
    CLASSES,
    SIZE,
    SMALL,
    THREE,
    check_trains_and_stays_exact,
    default_options,
    images,
    training_batch,
)
from tests.support.reference_m3l import without_drop_path
from usererror import UserError

VARIANTS = {
    "m3l": {},
    "m3l_any_subset": {"subsets": "any_subset"},
    "m3l_block": {"fusion": "block"},
}


class TestM3L(MethodContract):
    method = M3L
    options = SMALL


class TestM3LBlock(MethodContract):
    method = M3L
    options = {**SMALL, **VARIANTS["m3l_block"]}


make = TestM3L.make


def shown(**samples: list[bool]) -> dict[str, Tensor]:
    return {m: torch.tensor(flags) for m, flags in samples.items()}


def tokens(module: M3L) -> list[nn.Parameter]:
    return [p for name, p in module.network.named_parameters() if name.startswith("token")]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("backbone", ["pvt_v2_b0", "resnet50"])
@pytest.mark.parametrize("fusion", ["stage", "block"])
def test_masked_images_have_no_influence(fusion, backbone, training):
    """Dossier check 2; in training not even by the batch statistics of ResNet."""
    network, given = (
        without_drop_path(make(fusion=fusion, backbone=backbone, head_dropout=0.0).network),
        images(THREE),
    )
    network.train(training)
    present = shown(rgb=[True, False], dsm=[True, True], sar=[False, True])
    noisy = {
        m: torch.where(present[m][:, None, None, None], x, 100 * torch.randn_like(x))
        for m, x in given.items()
    }
    with torch.no_grad():
        if not training:
            network.train().fuse(network.encode(given))
            network.eval()
        encoded = [network.encode_present(x, present) for x in (given, noisy)]
        logits = [network.fuse(entries, present)[0] for entries in encoded]
        torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=0)
        if not training:
            # entries of masked samples may hold anything
            unmasked = network.fuse(network.encode(noisy), present)[0]
            torch.testing.assert_close(unmasked, logits[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fusion", ["stage", "block"])
def test_tokens_learn_from_masked_samples_only(fusion):
    for flags, learns in (([True, False], True), ([True, True], False)):
        module = make(fusion=fusion).train()
        present = {
            **shown(rgb=flags),
            **{m: torch.ones(2, dtype=torch.bool) for m in ("dsm", "sar")},
        }
        module.draw_shown = lambda batch, present=present: present
        module.weighted_sum(module.training_losses(training_batch(THREE))).backward()
        assert tokens(module)
        for token in tokens(module):
            assert learns == (token.grad is not None and bool(token.grad.any()))


def test_tokens_are_not_decayed():
    for fusion in ("stage", "block"):
        decayed = parameter_groups(make(fusion=fusion).parameters(), 0.01)[0]["params"]
        assert not {id(p) for p in tokens(make(fusion=fusion))} & {id(p) for p in decayed}
        assert all(p.ndim == 1 for p in tokens(make(fusion=fusion)))


@pytest.mark.parametrize("fusion", ["stage", "block"])
def test_the_ensemble_term_has_no_gradient(fusion):
    terms = make(fusion=fusion).train().training_losses(training_batch(THREE))
    assert set(terms) == {"streams", "ensemble"}
    assert terms["streams"].requires_grad and not terms["ensemble"].requires_grad


@pytest.mark.parametrize("fusion", ["stage", "block"])
def test_the_loss_is_the_mean_over_streams_and_ensemble(fusion):
    module, batch = (
        make(fusion=fusion, head_dropout=0.0, subsets="full").train(),
        training_batch(THREE),
    )
    without_drop_path(module.network).head.norm.eval()
    with torch.no_grad():
        terms = module.training_losses(batch)
        streams = module.network.stream_logits(module.encode(batch["image"]))
        # 40 x 72 pads to 64 x 96
        large = [
            F.interpolate(s, (64, 96), mode="bilinear")[..., : SIZE[0], : SIZE[1]] for s in streams
        ]
        expected = [
            F.cross_entropy(x, batch["mask"], ignore_index=255) for x in (*large, sum(large) / 3)
        ]
    torch.testing.assert_close(module.weighted_sum(terms), sum(expected) / 4, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(terms["ensemble"], expected[3] / 4, rtol=1e-5, atol=1e-6)


def batch_of(size: int, modalities: dict[str, int]) -> dict:
    mask = torch.zeros(size, 1, 1, dtype=torch.long)
    return {"image": {m: torch.zeros(size, c, 1, 1) for m, c in modalities.items()}, "mask": mask}


@pytest.mark.parametrize("count", [2, 3, 4])
def test_masking_rule_of_the_authors(count):
    """Dossier check 5: nobody masked, or exactly one, each with probability 1 / (M + 1)."""
    modalities = dict(list(CHANNELS.items())[:count])
    module, draws = make(modalities), 100_000
    torch.manual_seed(1)
    present = torch.stack(list(module.draw_shown(batch_of(draws, modalities)).values()))
    assert ((~present).sum(0) <= 1).all()
    for frequency in (present.all(0).float().mean(), *(~present).float().mean(1)):
        assert abs(frequency - 1 / (count + 1)) < 0.005


def test_any_subset_draws_all_subsets_alike():
    module = make(subsets="any_subset")
    torch.manual_seed(1)
    present = torch.stack(list(module.draw_shown(batch_of(100_000, THREE)).values()))
    codes = (present * torch.tensor([1, 2, 4])[:, None]).sum(0)
    frequencies = codes.bincount(minlength=8) / 100_000
    assert frequencies[0] == 0 and ((frequencies[1:] - 1 / 7).abs() < 0.005).all()


def test_what_a_sample_lacks_is_never_shown():
    module, batch = make(), training_batch(THREE, batch=64)
    batch["available"]["dsm"][:32] = False
    for seed in range(5):
        torch.manual_seed(seed)
        present = module.draw_shown(batch)
        assert not present["dsm"][:32].any()
        assert torch.stack(list(present.values())).any(0).all()
    batch["image"].pop("sar")
    assert set(module.draw_shown(batch)) == {"rgb", "dsm"}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_training_with_modalities_that_are_really_missing(options):
    module, batch = make(**options).train(), training_batch(THREE)
    batch["image"].pop("dsm")
    batch["available"]["sar"][0] = False
    loss = module.weighted_sum(module.training_losses(batch))
    loss.backward()
    assert loss.isfinite() and all(token.grad.any() for token in tokens(module))


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("backbone", ["pvt_v2_b2", "resnet50"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shapes_with_the_published_backbones(count, backbone, options):
    modalities = dict(list(CHANNELS.items())[:count])
    module = make(modalities, backbone=backbone, **options).eval()
    with torch.inference_mode():
        encoded = module.encode(images(modalities, 1, (64, 96)))
        for subset in (tuple(modalities), tuple(modalities)[-1:]):
            logits = module.decode({m: encoded[m] for m in subset}, (64, 96))
            assert logits.shape == (1, CLASSES, 64, 96) and logits.isfinite().all()


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "resnet50", "head_width": 8},
        {"backbone": "resnet50", "head_width": 8, "fusion": "block"},
        {
            "head_norm": "ln",
            "ensemble": "available",
            "subsets": "size_uniform",
            "criterion": "ohem",
        },
        {
            "fusion": "block",
            "ensemble": "available",
            "subsets": "any_subset",
            "subsets_per": "batch",
            "ratio": 0.5,
        },
        {"reduction": [16, 16, 32, 32], "fusion": "block"},
    ],
    ids=["resnet50", "resnet50_block", "options", "options_block", "reduced"],
)
def test_options_train_and_stay_exact(options):
    check_trains_and_stays_exact(make(**options))


def test_hard_pixels_by_brute_force():
    generator = torch.Generator().manual_seed(0)
    for spread, unlabelled in ((0.5, 0.0), (4.0, 0.3), (30.0, 0.3), (30.0, 0.97)):
        mask = torch.randint(0, CLASSES, (2, 10, 10), generator=generator)
        logits = torch.randn(2, CLASSES, 10, 10, generator=generator)
        logits = logits + spread * F.one_hot(mask, CLASSES).permute(0, 3, 1, 2)
        mask[torch.rand(mask.shape, generator=generator) < unlabelled] = 255
        losses = []
        for b, y, x in (mask != 255).nonzero().tolist():
            losses.append(-float(logits[b, :, y, x].log_softmax(0)[mask[b, y, x]]))
        losses.sort(reverse=True)
        least = 16  # 8 % of 200 pixels
        hard = [loss for i, loss in enumerate(losses) if i < least or exp(-loss) <= 0.7]
        found = float(hard_pixel_cross_entropy(logits, mask))
        assert found == pytest.approx(sum(hard) / len(hard), rel=1e-4)
    empty = hard_pixel_cross_entropy(logits.requires_grad_(), torch.full_like(mask, 255))
    empty.backward()
    assert empty.item() == 0 and logits.grad.isfinite().all()


def test_shipped_configs_are_the_dossiers_defaults_and_variants():
    """Dossier 5.7; the class's own defaults are those of the first file."""
    folder = Path(__file__).resolve().parents[3] / "configs" / "method"
    base = yaml.safe_load((folder / "m3l.yaml").read_text())["model"]["init_args"]
    expected = {
        "fusion": "stage",
        "ratio": 0.8,
        "subsets": "one_missing",
        "backbone": "pvt_v2_b2",
        "pretrained": True,
    }
    assert {name: base[name] for name in expected} == expected
    own = default_options(M3L)
    assert own["ratio"] == 0.8 and own["subsets"] == "one_missing"
    assert (own["fusion"], own["ensemble"], own["criterion"]) == ("stage", "all", "ce")
    assert (
        M3L(
            THREE, CLASSES, backbone="pvt_v2_b0", pretrained=False
        ).network.head.classifier.in_channels
        == 256
    )
    for name, options in VARIANTS.items():
        content = yaml.safe_load((folder / f"{name}.yaml").read_text())
        assert content["cell"] == {"method": "m3l", "variant": name}
        if name != "m3l":
            assert content["model"]["init_args"] == options


def test_what_cannot_be_configured():
    for options, word in (
        ({"fusion": "head"}, "stage nor block"),
        ({"criterion": "focal"}, "ce nor ohem"),
        ({"ratio": -0.1}, "within 0 and 1"),
        ({"backbone": "resnet5"}, "no backbone resnet5"),
    ):
        with pytest.raises(UserError, match=word):
            make(**options)
    assert cross_entropy is make().criterion
