"""ShaSpec against its equations: standardisation, fusion, generated features, skips, objectives
(checks 13 to 18).
"""

from __future__ import annotations

from itertools import combinations
from math import log

import pytest
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.nn import functional as F

from methods.parts.losses import segmentation_loss
from methods.shaspec.layers import StandardisedConv, standardise_filters
from methods.shaspec.losses import alignment_loss, domain_classification
from methods.shaspec.module import ShaSpec
from methods.shaspec.network import ShaSpecNetwork, repeat_channels
from tests.support.method_checks import (
    CLASSES,
    SIZE,
    THREE,
    TWO,
    images,
    subsets,
    training_batch,
)

LARGE = (64, 96)
KINDS = {"full": {"backbone": "resnet50_w4"}, "light": {"backbone": "pyramid"}}


def network(modalities=THREE, seed: int = 0, **options) -> ShaSpecNetwork:
    """With scales and shifts that are not their initial values, so that features of zeros are not
    zeros.
    """
    torch.manual_seed(seed)
    built = ShaSpecNetwork(modalities, CLASSES, **{**KINDS["full"], **options}).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return built


def literal_full(built: ShaSpecNetwork, given: dict[str, Tensor], shown: tuple[str, ...]) -> Tensor:
    """The published network as its equations read: zeros for what is missing, everything
    recomputed.
    """
    seen = {m: given[m] if m in shown else torch.zeros_like(given[m]) for m in built.modalities}
    shared = {m: built.shared(repeat_channels(image, built.channels)) for m, image in seen.items()}
    available = [shared[m].output for m in built.modalities if m in shown]
    generated = torch.stack(available).mean(0) if built.missing == "mean" else available[0]
    fused = []
    for m, encoder in zip(built.modalities, built.specific, strict=True):
        r, s = shared[m].output, encoder(seen[m]).output
        fused.append(r + built.fusion(torch.cat([r, s], 1)) if m in shown else generated)
    decoder = built.decoder
    state = torch.cat(fused, 1)
    for step in range(4):
        skip = decoder.joins[step](
            torch.cat([shared[m].maps[3 - step] for m in built.modalities], 1)
        )
        skip = F.leaky_relu(decoder.norms[step](skip), 0.01)
        state = decoder.blocks[step](decoder.lifts[step](state) + skip)
    return decoder.head(state)


def test_every_filter_is_standardised():
    """Check 13, for the filters that the convolution really uses."""
    built = network()
    convolutions = [m for m in built.modules() if isinstance(m, StandardisedConv)]
    assert len(convolutions) == 4 * (1 + 3 * 16 + 4 + 1 + 6) + 1 + 4 + 8
    for convolution in convolutions:
        rows = standardise_filters(convolution.weight).flatten(1)
        assert rows.mean(1).abs().max() < 1e-6
        torch.testing.assert_close(rows.std(1), torch.ones(len(rows)), rtol=1e-5, atol=1e-5)
    first = built.shared.stages[1][0].branch[1][0]
    image = torch.randn(1, first.in_channels, 9, 9)
    textbook = F.conv2d(image, standardise_filters(first.weight), stride=2, padding=1)
    torch.testing.assert_close(first(image), textbook, rtol=0, atol=0)


@pytest.mark.parametrize("missing", ["mean", "first"])
def test_full_equals_its_equations(missing):
    """Skips by parts, zeros kept between calls, generated features: every subset.

    In double precision, because the instance norms of the nearly constant zeros' features multiply
    rounding."""
    built, given = (
        network(missing=missing).double(),
        {m: x.double() for m, x in images(THREE, 1, LARGE).items()},
    )
    with torch.inference_mode():
        encoded = built.encode(given)
        for subset in subsets(list(THREE)):
            found = built.fuse({m: encoded[m] for m in subset})[0]
            torch.testing.assert_close(
                found, literal_full(built, given, subset), rtol=1e-8, atol=1e-8
            )


def test_light_equals_its_equations():
    built, given = (
        network(backbone="pyramid").double(),
        {m: x.double() for m, x in images(THREE, 1, LARGE).items()},
    )
    with torch.inference_mode():
        encoded = built.encode(given)
        for subset in subsets(list(THREE)):
            shared = {m: built.shared(repeat_channels(given[m], built.channels)) for m in subset}
            generated = sum(part.output for part in shared.values()) / len(subset)
            fused, maps = [], [[] for _ in range(4)]
            for index, m in enumerate(THREE):
                if m in subset:
                    both = torch.cat([shared[m].output, built.specific[index](given[m]).output], 1)
                    fused.append(shared[m].output + built.fusion(both))
                else:
                    fused.append(generated)
                for scale, (side, width) in enumerate(
                    zip((1, 2, 4, 8), (8, 16, 32, 64), strict=True)
                ):
                    blank = torch.zeros(
                        1, width, LARGE[0] // side, LARGE[1] // side, dtype=torch.float64
                    )
                    maps[scale].append(shared[m].maps[scale] if m in subset else blank)
            stacked = [torch.cat(parts, 1) for parts in (*maps, fused)]
            expected = built.decoder.decoder(stacked)[0]
            torch.testing.assert_close(
                built.fuse({m: encoded[m] for m in subset})[0], expected, rtol=1e-8, atol=1e-8
            )


def test_light_zeros_are_an_image_of_zeros():
    """Why a missing modality adds nothing to `light`: its features of a constant image are
    constant.
    """
    built = network(backbone="pyramid").double()
    maps = built.shared(torch.zeros(1, built.channels, *LARGE, dtype=torch.float64)).maps
    assert all((features - features[..., :1, :1]).abs().max() < 1e-9 for features in maps)
    assert all(
        part.abs().max() < 1e-6
        for part in built.decoder.skip_parts(1, [m - m + m[..., :1, :1] for m in maps])
    )


def test_available_features_are_the_same_in_every_subset():
    """Check 18."""
    built, given = network(), images(THREE)
    with torch.inference_mode():
        encoded = built.encode(given)
        for subset in subsets(list(THREE)):
            features = built.fuse({m: encoded[m] for m in subset})[1]["features"]
            for index, m in enumerate(THREE):
                if m in subset:
                    assert torch.equal(features[index], encoded[m].fused)
                else:
                    mean = torch.stack([encoded[n].shared for n in subset]).mean(0)
                    torch.testing.assert_close(features[index], mean, rtol=1e-5, atol=1e-6)


def test_mean_and_first_available():
    """Check 14: they coincide for one available modality, always for two modalities; else they
    differ.
    """
    mean, first = network(missing="mean"), network(missing="first")
    given = images(THREE)
    with torch.inference_mode():
        for subset in subsets(list(THREE)):
            shown = {m: given[m] for m in subset}
            one, two = (built.fuse(built.encode(shown))[0] for built in (mean, first))
            assert torch.allclose(one, two, rtol=1e-4, atol=1e-4) == (len(subset) != 2)


@pytest.mark.parametrize("missing", ["mean", "first"])
def test_order_of_the_available(missing):
    """Check 14: the given list may be in any order; with the mean, so may the configured one."""
    built = network(missing=missing)
    features = [torch.randn(2, 16, 2, 3) for _ in range(3)]
    flags = [torch.ones(1, 1, 1, 1, dtype=torch.bool)] * 3
    whole = [
        built._generated([features[i] for i in order], flags) for order in ((0, 1, 2), (2, 0, 1))
    ]
    assert torch.allclose(*whole, atol=1e-6) == (missing == "mean")
    given = images(THREE)
    with torch.inference_mode():
        encoded = built.encode(given)
        pair = [
            built.fuse({m: encoded[m] for m in order})[0]
            for order in (("rgb", "sar"), ("sar", "rgb"))
        ]
    assert torch.equal(*pair)


def test_per_sample_first_available():
    built = network(missing="first")
    features = [torch.full((3, 1, 1, 1), float(value)) for value in (1, 2, 3)]
    flags = [torch.tensor(row).view(3, 1, 1, 1) for row in ([1, 0, 0], [1, 1, 0], [0, 1, 1])]
    assert built._generated(features, [flag.bool() for flag in flags]).flatten().tolist() == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_shared_encoder_sees_repeated_channels(kind):
    """Equal pictures in the same format: the same shared features, hence DAO 0 (check 15)."""
    modalities = {"a": 1, "b": 1, "c": 3}
    built = network(modalities, **KINDS[kind])
    gray = torch.randn(2, 1, *SIZE)
    with torch.inference_mode():
        encoded = built.encode({"a": gray, "b": gray, "c": gray.expand(-1, 3, -1, -1)})
        shared = [entry.shared for entry in encoded.values()]
        apart = alignment_loss(shared, torch.ones(3, 2, dtype=torch.bool))
    assert apart < 1e-5
    assert not torch.allclose(encoded["a"].fused, encoded["b"].fused, atol=1e-3)
    five = repeat_channels(torch.arange(2.0).view(1, 2, 1, 1), 5)
    assert five.flatten().tolist() == [0, 1, 0, 1, 0]


def test_alignment_by_brute_force():
    """Check 15: unordered pairs of available modalities, averaged; nothing for a single one."""
    generator = torch.Generator().manual_seed(0)
    shared = [torch.randn(4, 3, 2, 2, generator=generator) for _ in range(3)]
    present = torch.tensor([[1, 1, 0, 1], [1, 0, 1, 1], [1, 0, 0, 0]]).bool()
    samples = []
    for b in range(4):
        have = [m for m in range(3) if present[m, b]]
        apart = [
            float((shared[i][b] - shared[k][b]).abs().mean()) for i, k in combinations(have, 2)
        ]
        samples.append(sum(apart) / len(apart) if apart else 0.0)
    assert samples[1] == samples[2] == 0
    assert float(alignment_loss(shared, present)) == pytest.approx(sum(samples) / 4, rel=1e-6)
    noisy = [
        torch.where(flag[:, None, None, None], part, 1e3)
        for part, flag in zip(shared, present, strict=True)
    ]
    assert torch.equal(alignment_loss(noisy, present), alignment_loss(shared, present))


def test_released_ring():
    """S4: neighbours only, summed; of two modalities the one pair counts twice."""
    shared = [torch.randn(2, 3, 2, 2) for _ in range(4)]
    everything = torch.ones(4, 2, dtype=torch.bool)
    l1 = [(shared[i] - shared[k]).abs().mean() for i, k in ((0, 1), (1, 2), (2, 3), (3, 0))]
    torch.testing.assert_close(alignment_loss(shared, everything, "ring"), sum(l1))
    torch.testing.assert_close(alignment_loss(shared[:2], everything[:2], "ring"), 2 * l1[0])
    torch.testing.assert_close(alignment_loss(shared[:2], everything[:2]), l1[0])


def test_domain_classification_by_brute_force():
    scores = [torch.randn(3, 4) for _ in range(2)]
    present = torch.tensor([[1, 0, 1], [0, 0, 1]]).bool()
    expected = [
        -scores[row][b].log_softmax(0)[index]
        for row, index in enumerate((1, 3))
        for b in range(3)
        if present[row, b]
    ]
    torch.testing.assert_close(domain_classification(scores, [1, 3], present), sum(expected) / 3)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_an_untrained_classifier_guesses(count):
    """Check 16: ln M."""
    torch.manual_seed(0)
    classifier = torch.nn.Linear(256, count)
    scores = [classifier(0.2 * torch.randn(200, 256)) for _ in range(count)]
    loss = domain_classification(
        scores, list(range(count)), torch.ones(count, 200, dtype=torch.bool)
    )
    assert loss.item() == pytest.approx(log(count), abs=0.05)


def make(modalities=TWO, **options) -> ShaSpec:
    torch.manual_seed(0)
    return ShaSpec(modalities, CLASSES, **{**KINDS["full"], **options})


def test_without_weights_the_task_loss_is_left():
    """Check 17."""
    batch = training_batch(TWO)
    losses = []
    for weights in (None, {"dao": 0.0, "dco": 0.0}):
        module = make(loss_weights=weights, subsets="full").train()
        terms = module.training_losses(batch)
        losses.append((terms, module.weighted_sum(terms)))
    (terms, whole), (_, alone) = losses
    assert torch.equal(alone, losses[1][0]["seg"])
    torch.testing.assert_close(whole, terms["seg"] + 0.1 * terms["dao"] + 0.02 * terms["dco"])
    assert terms["dao"] > 0


def test_the_task_loss_is_that_of_the_logits():
    module, batch = make(subsets="full").train(), training_batch(TWO)
    with torch.no_grad():
        found = module.training_losses(batch)["seg"]
        expected = segmentation_loss(module(batch["image"]).softmax(1), batch["mask"], 255)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_modality_has_no_term(kind):
    """Checks 14 and 15: its pixels change no loss and no weight's gradient; one available modality
    has no distance.
    """
    module, batch = make(**KINDS[kind]).train(), training_batch(TWO)
    module.draw_shown = lambda batch: {
        "rgb": torch.tensor([True, True]),
        "dsm": torch.tensor([False, False]),
    }
    other = {**batch, "image": {**batch["image"], "dsm": 10 * torch.randn(2, 1, *SIZE)}}
    results = []
    for seen in (batch, other):
        module.zero_grad()
        terms = module.training_losses(seen)
        module.weighted_sum(terms).backward()
        results.append((terms, [p.grad.clone() for p in module.parameters()]))
    assert terms["dao"] == 0
    for name, term in results[0][0].items():
        torch.testing.assert_close(term, results[1][0][name], rtol=0, atol=0)
    for one, two in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert not any(p.grad.any() for p in module.network.specific[1].parameters())


def test_released_terms_count_images_of_zeros():
    """S3: ring and classifier see the features of zeros, and the task loss does not change."""
    batch, flags = (
        training_batch(TWO),
        {"rgb": torch.tensor([True, True]), "dsm": torch.tensor([False, False])},
    )
    module, plain = make(as_released=True).train(), make(missing="first", pooling_norm=True).train()
    plain.load_state_dict(module.state_dict())
    for built in (module, plain):
        built.draw_shown = lambda batch: flags
    terms, other = module.training_losses(batch), plain.training_losses(batch)
    torch.testing.assert_close(terms["seg"], other["seg"], rtol=1e-4, atol=1e-5)
    blank = module.encode({"rgb": batch["image"]["rgb"], "dsm": torch.zeros(2, 1, *SIZE)})
    apart = (blank["rgb"].shared - blank["dsm"].shared).abs().mean()
    torch.testing.assert_close(terms["dao"], 2 * apart, rtol=1e-4, atol=1e-5)
    scores = [module.network.classifier(entry.vector) for entry in blank.values()]
    everywhere = torch.ones(2, 2, dtype=torch.bool)
    torch.testing.assert_close(
        terms["dco"], domain_classification(scores, [0, 1], everywhere), rtol=1e-4, atol=1e-5
    )


def test_a_complete_batch_needs_no_encoding_of_zeros():
    """The same logits and gradients as beside a sample that needs it, and one pass less."""
    batch, found = training_batch(TWO), []
    for forced in (False, True):
        built = network(TWO).train()
        passes: list[int] = []
        built.shared.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        encoded = built.encode(batch["image"])
        present = batch["available"]
        if forced:
            # a third sample without a sensor; its logits take no part in the loss
            encoded = apply_to_collection(encoded, Tensor, lambda x: torch.cat([x, x[:1]]))
            present = {"rgb": torch.tensor([True, True, True])}
            present["dsm"] = torch.tensor([True, True, False])
        logits = built.fuse(encoded, present)[0][:2]
        logits.square().sum().backward()
        found.append((len(passes), logits.detach(), [p.grad for p in built.parameters()]))
    assert [passes for passes, _, _ in found] == [1, 2]
    torch.testing.assert_close(found[0][1:], found[1][1:], rtol=1e-5, atol=1e-5)
