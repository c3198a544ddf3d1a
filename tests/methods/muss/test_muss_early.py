"""MuSS by early fusion: contract, matching against the literal equations, entry at stride 4, counts
(2, 4.2).
"""

from __future__ import annotations

from math import exp, log, log2

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.muss.early_front_end import EarlyMuSSNetwork
from methods.muss.experts import ImageExpert, phase_offsets
from methods.muss.matching import AdaptiveMatching, reversed_softmax
from methods.muss.module import MuSS
from methods.parts.backbones import SharedEncoder
from methods.parts.heads import AllMLPHead
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CHANNELS,
    SIZE,
    THREE,
    check_cached_subsets,
    images,
    subsets,
    training_batch,
)
from usererror import UserError

SMALL = {
    "fusion": "early",
    "missing": "zero_image",
    "backbone": "pvt_v2_b0",
    "pretrained": False,
    "head_width": 16,
}


class TestEarly(MethodContract):
    method = MuSS
    options = SMALL


make = TestEarly.make


def matching(
    modalities: int = 3, width: int = 8, out_width: int = 16, **options
) -> AdaptiveMatching:
    torch.manual_seed(0)
    return AdaptiveMatching(modalities, width, out_width, **options).eval()


def literal_expert(expert: ImageExpert, image: Tensor, phase: float) -> Tensor:
    """2.1, line by line."""
    inner = expert.expert
    h = F.relu(expert.norm(F.conv2d(image, expert.stem.weight, padding=1)))
    u = F.conv2d(h, inner.reduce.weight) + phase
    u = inner.norm(F.conv2d(u, inner.spatial.weight, padding=1, groups=2))
    u = F.relu(F.conv2d(u, inner.expand.weight, inner.expand.bias))
    z = u + h
    gate = inner.gate
    squeezed = gate.squeeze.weight[:, :, 0, 0] @ z.mean((2, 3)).t()
    excited = gate.excite.weight[:, :, 0, 0] @ squeezed.clamp(0, 6)
    return z * (1 / (1 + torch.exp(-excited))).t()[:, :, None, None]


def test_expert_follows_the_equations():
    torch.manual_seed(0)
    phase = phase_offsets(3)[1]
    expert, image = ImageExpert(2, phase).eval(), torch.randn(2, 2, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(
            expert(image), literal_expert(expert, image, phase), rtol=1e-4, atol=1e-5
        )


def literal_weights(module: AdaptiveMatching, features: Tensor) -> Tensor:
    """T of one sample, loop by loop: heads are quarters of the flattened image, tokens are
    channels.
    """
    query, key = (part(features)[0].flatten(1) for part in (module.query, module.key))
    channels, quarter = query.shape[0], query.shape[1] // 4
    rows = torch.zeros(4, channels, channels)
    for head in range(4):
        part = slice(head * quarter, (head + 1) * quarter)
        for i in range(channels):
            scores = torch.zeros(channels)
            for j in range(channels):
                q, k = query[i, part], key[j, part]
                d = 8 * (j - i) / (channels - 1)
                coordinate = (1 if d > 0 else -1) * log2(abs(d) + 1) / log2(8)
                bias = module.bias(torch.tensor([coordinate]))[head]
                scale = exp(min(float(module.scale[head]), log(100)))
                scores[j] = scale * (q @ k) / (q.norm() * k.norm()) + 1 / (1 + torch.exp(-bias))
            rows[head, i] = (1 - scores.softmax(0)).softmax(0)
    return rows


def test_matching_follows_the_equations():
    module, features = matching(2, 4), torch.randn(1, 8, 32, 64)
    with torch.no_grad():
        module.scale.copy_(
            torch.tensor([1.0, 2.0, 3.0, 9.0])[:, None, None]
        )  # the last is cut at ln 100
        weights = module.channel_attention(features)
        torch.testing.assert_close(
            weights[0], literal_weights(module, features), rtol=1e-3, atol=1e-5
        )
        torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4, 8))
        value = module.value(features)[0].flatten(1)  # 8 x 128
        quarters = [weights[0, h] @ value[:, 32 * h : 32 * (h + 1)] for h in range(4)]
        mixed = module.projection(torch.cat(quarters, 1).view(1, 8, 8, 16))
        patches = F.conv2d(features, module.patches.weight, module.patches.bias, stride=4)
        parts = [
            (x - x.mean(1, keepdim=True)) / (x.var(1, False, True) + 1e-5).sqrt()
            for x in (mixed, patches)
        ]
        torch.testing.assert_close(module(features)[0], sum(parts), rtol=1e-3, atol=1e-4)


def test_the_most_similar_channel_gets_the_smallest_weight():
    module = matching()
    module.key = module.query
    with torch.no_grad():
        module.bias[-1].weight.zero_()
        weights = module.channel_attention(torch.randn(2, 24, 64, 64))
    assert (weights.argmin(-1) == torch.arange(24)).all()
    scores = torch.tensor([3.0, 1.0, 2.0])
    assert reversed_softmax(scores).argsort().tolist() == [0, 2, 1]


def test_shapes_at_512():
    with torch.device("meta"):
        module, features = (
            AdaptiveMatching(3, out_width=64, guidance=32),
            torch.zeros(2, 96, 512, 512),
        )
    fused, guidance = module(features)
    assert fused.shape == (2, 64, 128, 128) and guidance.shape == (2, 32, 512, 512)
    assert module.query(features).shape == (2, 96, 62, 62)


def front(channels: list[int], out_width: int = 64) -> tuple[int, float]:
    """Parameters and GMAC of experts and matching at 512 px, guidance included."""
    with torch.device("meta"):
        experts = [
            ImageExpert(c, p).eval()
            for c, p in zip(channels, phase_offsets(len(channels)), strict=True)
        ]
        module = AdaptiveMatching(len(channels), out_width=out_width, guidance=32).eval()
        given = [torch.zeros(1, c, 512, 512) for c in channels]
    cost = count_gmac(
        lambda: module(torch.cat([expert(x) for expert, x in zip(experts, given, strict=True)], 1))
    )
    return sum(count_parameters(part)["total"] for part in (*experts, module)), cost


@pytest.mark.parametrize(
    ("channels", "width", "millions", "cost"),
    [
        ([3, 3], 64, 0.108, 9.35),
        ([3, 3, 3], 64, 0.166, 14.14),
        ([3, 3, 3, 3], 64, 0.225, 19.00),
        ([3], 96, 0.071, 4.92),
        ([3, 1], 96, 0.143, 9.77),
        ([3, 1, 1], 96, 0.217, 14.69),
        ([3, 3, 3], 96, 0.218, 14.99),
    ],
)
def test_cost_of_the_front_end(channels, width, millions, cost):
    """Dossier 4.2 (e = 64) and the official table 2.6 (e = 96).

    Those count 16 biases more for each expert, before its BatchNorm, which cancels them.
    """
    count, macs = front(channels, width)
    official = count + 16 * len(channels)
    assert (round(official / 1e6, 3), round(macs, 2)) == (millions, cost)


def test_front_end_and_head_together():
    """0.69 M and 18.97 GMAC with the head in the textbook's order, 4C projections and fusion at
    stride 4 (4.7).
    """
    count, macs = front([3, 3, 3])
    with torch.device("meta"):
        head = AllMLPHead((64, 128, 320, 512), 5)
        maps = [
            torch.zeros(1, c, s, s)
            for c, s in zip((64, 128, 320, 512), (128, 64, 32, 16), strict=True)
        ]
        wide = torch.zeros(1, 1024, 128, 128)
    projections = count_gmac(
        lambda: [project(x) for project, x in zip(head.projections, maps, strict=True)]
    )
    textbook = projections + count_gmac(lambda: head.classifier(head.fusion(wide)))
    assert round((count + count_parameters(head)["total"]) / 1e6, 2) == 0.69
    assert round(macs + textbook, 2) == 18.97


def test_an_expert_has_about_3400_parameters():
    assert 3300 < count_parameters(ImageExpert(3, 0.0))["total"] < 3500


def test_the_backbone_is_entered_at_stride_4():
    """24.03 of 24.18 GMAC remain (4.2); what remains is the backbone behind its stem."""
    with torch.device("meta"):
        network = EarlyMuSSNetwork(dict.fromkeys("abc", 3), 5).eval()
        entered = torch.zeros(1, 64, 128, 128)
    assert round(count_gmac(lambda: network.encoder.pyramid_of(entered)), 2) == 24.03
    for backbone in ("pvt_v2_b0", "resnet50"):
        whole, module = SharedEncoder(backbone).eval(), make(backbone=backbone).eval()
        missing = module.network.encoder.load_state_dict(
            whole.state_dict(), strict=False
        ).missing_keys
        assert all(key.startswith("reduction") for key in missing)
        caught = []
        stem = "patch_embed" if backbone.startswith("pvt") else "maxpool"
        whole.pyramid[stem].register_forward_hook(
            lambda _, __, output, caught=caught: caught.append(output)
        )
        with torch.no_grad():
            expected = whole.pyramid(torch.randn(1, 3, 64, 64))
            given = caught[0].permute(0, 3, 1, 2) if backbone.startswith("pvt") else caught[0]
            found = module.network.encoder.pyramid(given)
        for one, two in zip(found, expected, strict=True):
            torch.testing.assert_close(one, two)
    with pytest.raises(UserError, match="PVT-v2 and ResNet"):
        make(backbone="convnext_atto")


def test_zero_images_take_the_place_of_what_is_missing():
    module, given = make().train(), images(THREE)
    with torch.no_grad():
        module.training_losses(training_batch(THREE))
    module.eval()
    with torch.inference_mode():
        encoded = module.encode(given)
        for subset in subsets(list(THREE)):
            filled = {m: given[m] if m in subset else torch.zeros_like(given[m]) for m in THREE}
            cached = module.decode({m: encoded[m] for m in subset}, SIZE)
            torch.testing.assert_close(cached, module(filled), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", ["full", "any_subset"])
def test_a_batch_that_lacks_a_modality_trains_with_the_others(rule):
    module, batch = make(subsets=rule).train(), training_batch(THREE)
    del batch["image"]["dsm"]
    batch["available"]["dsm"] = torch.zeros(2, dtype=torch.bool)
    module.weighted_sum(module.training_losses(batch)).backward()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


def test_dropout_shows_images_of_zeros():
    module, batch = make(subsets="any_subset").train(), training_batch(THREE, batch=4)
    given = {m: image.requires_grad_() for m, image in batch["image"].items()}
    seen = {}
    for m, expert in module.network.experts.items():
        expert.register_forward_pre_hook(
            lambda _, inputs, m=m: seen.update({m: inputs[0].flatten(1).any(1)})
        )
    module.weighted_sum(module.training_losses({**batch, "image": given})).backward()
    for m, image in given.items():
        assert torch.equal(image.grad.flatten(1).any(1), seen[m])
    shown = torch.stack(list(seen.values()))
    assert shown.any(0).all() and not shown.all()


def test_the_decode_gate_trains_and_stays_exact():
    module, batch = make(gate=True, head_width=32).train(), training_batch(THREE)
    for seed in range(2):
        torch.manual_seed(seed)
        module.weighted_sum(module.training_losses(batch)).backward()
    assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []
    check_cached_subsets(module.eval(), images(THREE), atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("backbone", ["pvt_v2_b2", "resnet50"])
def test_shapes_for_both_backbones(backbone, count):
    channels = dict(list(CHANNELS.items())[:count])
    with torch.device("meta"):
        network = EarlyMuSSNetwork(channels, 5, backbone)
        given = {m: torch.zeros(2, c, 64, 96) for m, c in channels.items()}
        present = {m: torch.ones(2, dtype=torch.bool) for m in channels}
    main, aux = network.train().forward_train(given, present)
    assert main.shape == aux.shape == (2, 5, 64, 96)
    assert network.eval()(given).shape == (2, 5, 64, 96)
