"""MetaRS fulfils the contract before and after its masks are known; counts, and who sees whom."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import pytest
import torch
from segmentation_models_pytorch.base.modules import SCSEModule
from torch import Tensor, nn
from torch.nn import functional as F

from methods.metars.content import ContentEncoder
from methods.metars.decoder import PyramidDecoder
from methods.metars.module import MetaRS, draw_fusable
from methods.metars.network import GatedFusion, MetaRSNetwork
from methods.parts.backbones import SharedEncoder, create_pyramid
from methods.parts.modality_dropout import Masks
from tests.methods.test_batch_statistics import inputs_of_norms
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CLASSES,
    FOUR,
    SMALL,
    THREE,
    TWO,
    check_trains_and_stays_exact,
    images,
    training_batch,
)
from usererror import UserError

RESNET = {"backbone": "test_resnet", "pretrained": False, "head_width": 16}


class TestMetaRS(MethodContract):
    method = MetaRS
    options = SMALL
    # a gate of the narrowest maps has two hidden units, which a ReLU may both close
    silent = ("cSE.1.weight", "cSE.1.bias", "cSE.3.weight")


def regularised(modalities: dict[str, int] = THREE, **options: Any) -> MetaRS:
    """After the start, with masks of all pairs of channels."""
    module = TestMetaRS.make(modalities, **options)
    module.progress = 1.0
    for mask in module.whitening.buffers():
        mask.copy_(torch.ones_like(mask).triu(1))
    return module


def count(module: nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())


def test_parameters_of_the_dossier() -> None:
    # it counts the LayerNorm of 64 channels that an instance norm replaces
    totals = {2: 78_510_311, 3: 104_594_160, 4: 130_678_009}
    with torch.device("meta"):
        for sensors, total in totals.items():
            modalities = dict(list(FOUR.items())[:sensors])
            network = MetaRS(modalities, 5, backbone="pvt_v2_b2", pretrained=False).network
            assert count(network) == total - 128
        assert [count(head) for head in network.own_heads.values()] == [789_253] * 4
        assert count(network.fused_head) == 527_109 and count(network.project) == 922_828
        for slots, total in {2: 922_828, 3: 1_358_096, 4: 1_793_364}.items():
            parts = [GatedFusion(width, slots) for width in (64, 128, 320, 512)]
            assert sum(map(count, parts)) == total
        # as released on ResNet-50 at its own widths
        assert sum(count(GatedFusion(width, 2)) for width in (256, 512, 1024, 2048)) == 13_261_532
        encoder = SharedEncoder("resnet50")
        assert count(encoder) == 23_508_032
        content = ContentEncoder(["sar", "rgb"], encoder)
        # its SAR stem has one channel, ours three
        more = 2 * 64 * 49
        assert count(content) == 23_501_632 + 9_408 + more
        released = {"backbone": "resnet50", "reduction": None, "decoder": "fpn"}
        network = MetaRS(TWO, 8, pretrained=False, **released).network
        assert [count(head) for head in network.own_heads.values()] == [5_952_264] * 2
        assert count(network.fused_head) == 4_969_224
        # so has the SAR encoder
        assert count(network) == 113_917_648 + 2 * more


def test_two_slots_are_the_published_module() -> None:
    """scSE of both, concatenated, 1x1 convolution, BN, ReLU, scSE, written with plain layers."""
    torch.manual_seed(0)
    fusion = GatedFusion(32, 2)
    maps = [torch.randn(3, 32, 5, 4) for _ in range(2)]
    found = fusion.finish(fusion.product(0, maps[0]) + fusion.product(1, maps[1]))
    twin = GatedFusion(32, 2)
    twin.load_state_dict(fusion.state_dict())

    def squeeze_and_excite(x: Tensor, gate: nn.Module) -> Tensor:
        assert isinstance(gate, SCSEModule)
        _, down, _, up, _ = gate.cSE
        hidden = F.relu(x.mean((2, 3)) @ down.weight[:, :, 0, 0].T + down.bias)
        channel = torch.sigmoid(hidden @ up.weight[:, :, 0, 0].T + up.bias)
        logit = torch.einsum("bchw,c->bhw", x, gate.sSE[0].weight[0, :, 0, 0]) + gate.sSE[0].bias
        spatial = torch.sigmoid(logit)
        return x * channel[:, :, None, None] + x * spatial[:, None]

    both = torch.cat([squeeze_and_excite(x, g) for x, g in zip(maps, twin.gates, strict=True)], 1)
    mixed = F.relu(twin.norm(twin.mix(both)))
    torch.testing.assert_close(found, squeeze_and_excite(mixed, twin.gate), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ["pvt_v2_b0", "test_resnet"])
def test_kept_maps_have_mean_0_and_variance_1(backbone: str) -> None:
    torch.manual_seed(0)
    content = ContentEncoder(["a", "b"], SharedEncoder(backbone))
    given = {"a": 3 + 5 * torch.randn(2, 3, 64, 64), "b": torch.rand(2, 1, 64, 64)}
    with torch.no_grad():
        maps, kept = content(given)
    for m in given:
        assert [len(part) for part in kept[m]] == [2] * 3 and len(maps[m]) == 4
        assert [part.shape[1] for part in kept[m]] == content.kept_widths
        for part in kept[m]:
            torch.testing.assert_close(
                part.mean((2, 3)), torch.zeros(part.shape[:2]), atol=1e-4, rtol=0
            )
            # but where a channel is nearly constant
            spread = part.var((2, 3), correction=0)
            assert float(spread.median()) == pytest.approx(1, abs=0.01)
            assert spread.max() < 1.001


def test_without_its_norms_the_content_encoder_is_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stepping through the stages changes nothing else; checked with the norms timm has there."""
    for backbone in ("pvt_v2_b0", "test_resnet"):
        torch.manual_seed(0)
        plain = create_pyramid(backbone).eval()
        parts = dict(plain.named_children())
        encoder = SharedEncoder(backbone)
        encoder.pyramid.load_state_dict(plain.state_dict())
        content = ContentEncoder(["a"], encoder).eval()
        calls = []

        def first_norm_only(x: Tensor, parts: Any = parts, calls: Any = calls) -> Tensor:
            calls.append(x)
            if len(calls) > 1:
                return x
            if "patch_embed" in parts:
                return parts["patch_embed"].norm(x.movedim(1, -1)).movedim(-1, 1)
            return parts["bn1"](x)

        monkeypatch.setattr(F, "instance_norm", first_norm_only)
        image = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            found = content({"a": image})[0]["a"]
            expected = plain(image)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert len(calls) == 3


def test_who_sees_whom() -> None:
    """P_m looks at its sensor and the shared weights, P_f at contents only."""
    network = TestMetaRS.make(TWO).eval().network
    encoded = network.encode(images(TWO))
    own = network.fuse({"rgb": encoded["rgb"]})[0].sum()
    own.backward(retain_graph=True)

    def reached(part: nn.Module) -> bool:
        return any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())

    for part, expected in (
        (network.specific["rgb"], True),
        (network.content, True),
        (network.specific["dsm"], False),
        (network.content.stems["dsm"], False),
        (network.own_heads["dsm"], False),
        (network.fused_head, False),
    ):
        assert reached(part) == expected
    network.zero_grad()
    network.fuse(encoded)[0].sum().backward()
    assert reached(network.content) and reached(network.fusion) and reached(network.fused_head)
    assert not (reached(network.specific) or reached(network.project))
    assert not reached(network.own_heads)


def test_own_mean_is_the_mean_of_what_sensors_say_alone() -> None:
    module = TestMetaRS.make(THREE, predict="own_mean").eval()
    given = images(THREE)
    with torch.inference_mode():
        alone = torch.stack([module({m: image}) for m, image in given.items()])
        torch.testing.assert_close(module(given), alone.mean(0), rtol=1e-4, atol=1e-5)
        fused = TestMetaRS.make(THREE).eval()
        torch.testing.assert_close(fused({"rgb": given["rgb"]}), alone[0])
        assert not torch.allclose(fused(given), alone.mean(0), atol=1e-3)


def test_terms_before_and_after_the_start() -> None:
    batch = training_batch(THREE)
    before = TestMetaRS.make(THREE).train().training_losses(batch)
    assert set(before) == {"own", "fused", "fuse_subset"}
    module = regularised().train()
    terms = module.training_losses(batch)
    assert set(terms) == set(module.default_loss_weights)
    assert terms["mmr"] > 0 and terms["align"] > 0
    assert "fuse_subset" not in regularised(TWO).train().training_losses(training_batch(TWO))
    # until the masks are there, nothing is regularised by them
    for mask in module.whitening.buffers():
        mask.zero_()
    assert module.training_losses(batch)["mmr"] == 0
    # a sensor alone has nothing to be fused or aligned with
    alone = {m: torch.tensor([m == "rgb"] * 2) for m in THREE}
    terms = regularised().train().training_losses({**batch, "available": alone})
    assert terms["fused"] == terms["fuse_subset"] == terms["align"] == 0
    assert terms["mmr"] > 0 and terms["own"] > 0


def test_a_regularised_step_waits_for_no_device() -> None:
    with torch.device("meta"):
        module = regularised(TWO).train()
    batch = training_batch(TWO)
    batch["image"] = {m: image.to("meta") for m, image in batch["image"].items()}
    batch["mask"] = batch["mask"].to("meta")
    terms = module.training_losses(batch)
    assert {"mmr", "align"} <= set(terms)
    module.weighted_sum(terms).backward()


def test_regularised_gradients_are_finite_and_change() -> None:
    batch, found = training_batch(THREE), []
    for module in (regularised(), TestMetaRS.make(THREE)):
        torch.manual_seed(0)
        module.train().weighted_sum(module.training_losses(batch)).backward()
        gradients = [p.grad for p in module.network.content.parameters()]
        assert all(one is not None and one.isfinite().all() for one in gradients)
        found.append(gradients)
    assert not torch.equal(found[0][0], found[1][0])


def test_every_sample_draws_two_sensors_and_more_of_its_own() -> None:
    torch.manual_seed(0)
    # all of them, two, one
    have = {m: torch.tensor([True, m != "rgb", m == "dsm"]) for m in THREE}
    drawn: list[list[tuple[str, ...]]] = [[], [], []]
    for _ in range(800):
        shown = draw_fusable(Masks(have, torch.device("cpu")))
        for sample, seen in enumerate(drawn):
            seen.append(tuple(m for m in THREE if shown[m][sample]))
    expected = {subset for size in (2, 3) for subset in combinations(THREE, size)}
    counts = Counter(drawn[0])
    # 200 each, six deviations
    assert set(counts) == expected and all(abs(n - 200) < 75 for n in counts.values())
    assert set(drawn[1]) == {("dsm", "sar")} and set(drawn[2]) == {("dsm",)}
    both = {m: torch.ones(2, dtype=torch.bool) for m in THREE}
    alike = 0
    for _ in range(200):
        shown = draw_fusable(Masks(both, torch.device("cpu")))
        alike += all(bool(mask[0] == mask[1]) for mask in shown.values())
    assert 20 < alike < 80


def test_evaluation_normalises_as_training_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where running statistics are those of a step, evaluation predicts what the step did: from all
    that samples have and from what was drawn of it, by one set of statistics for both.
    """
    module = TestMetaRS.make(THREE, head_dropout=0.0).train()
    network = module.network
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    batch = training_batch(THREE, batch=3)
    batch["available"]["sar"][2] = False
    drawn = {
        "rgb": torch.tensor([True, False, True]),
        "dsm": torch.tensor([True, True, True]),
        "sar": torch.tensor([False, True, False]),
    }
    monkeypatch.setattr("methods.metars.module.draw_fusable", lambda available: drawn)
    predicted: list[Tensor] = []
    hook = network.fused_head.register_forward_hook(lambda *given: predicted.append(given[2]))
    with torch.no_grad(), inputs_of_norms(network) as seen:
        module.training_losses(batch)
    hook.remove()
    views = [batch["available"], drawn]
    with torch.no_grad():
        # neither a norm nor a draw lies before the fusion
        encoded = network.eval().encode(batch["image"])
        for scale, fusion in enumerate(network.fusion):
            ((rows,),) = [calls for norm, calls in seen.items() if norm is fusion.norm]
            sums = []
            for view in views:
                for sample in range(3):
                    there = [encoded[m].products[scale][sample] for m in THREE if view[m][sample]]
                    sums.append(torch.stack(there).sum(0))
            torch.testing.assert_close(torch.from_numpy(rows).float(), torch.stack(sums))
            mean, variance = torch.stack(sums).mean((0, 2, 3)), torch.stack(sums).var((0, 2, 3))
            torch.testing.assert_close(fusion.norm.running_mean, mean, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(fusion.norm.running_var, variance, rtol=1e-4, atol=1e-5)
        for norm, calls in seen.items():
            # a batch is divided by its variance of n values, a running one is of n - 1
            number = calls[0].shape[0] * calls[0].shape[2] * calls[0].shape[3]
            norm.running_var.mul_((number - 1) / number)
        for view, expected in zip(views, predicted[0].chunk(2), strict=True):
            found = network.fuse(encoded, view)[0]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_released_decoder_on_a_resnet() -> None:
    check_trains_and_stays_exact(regularised(TWO, **RESNET, decoder="fpn"))
    # the coarsest level: three doublings, corners kept; the finest none
    decoder = PyramidDecoder((16, 16, 16, 16), 3).eval()
    maps = [torch.randn(1, 16, 32 // 2**scale, 16 // 2**scale) for scale in range(4)]
    levels = decoder.pyramid(dict(enumerate(maps)))
    total = 0
    for scale, stack in enumerate(decoder.levels):
        one = levels[scale]
        for layer in stack:
            if isinstance(layer, nn.Conv2d):
                one = F.relu(F.conv2d(one, layer.weight, padding=1) / (1 + 1e-5) ** 0.5)
                if scale:
                    one = F.interpolate(one, scale_factor=2, mode="bilinear", align_corners=True)
        total = total + one / 4
    expected = F.conv2d(total, decoder.classifier.weight, decoder.classifier.bias)
    torch.testing.assert_close(decoder(maps), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["2", "3"])
def test_whose_samples_batch_norms_see(modalities: dict[str, int]) -> None:
    module, batch, sensors = TestMetaRS.make(modalities, **RESNET).train(), 3, len(modalities)
    network = module.network
    with torch.no_grad(), inputs_of_norms(network) as seen:
        module.training_losses(training_batch(modalities, batch))
    # as published of two; of three all and what is drawn, in one call
    fused = batch if sensors == 2 else 2 * batch
    for part, rows in (
        (network.content.stages, sensors * batch),
        (network.specific, batch),
        (network.project, sensors * batch),
        (network.own_heads, batch),
        (network.fusion, fused),
        (network.fused_head, fused),
    ):
        norms = [norm for norm in part.modules() if norm in seen]
        assert norms
        assert all([len(call) for call in seen[norm]] == [rows] for norm in norms)


def test_other_encoders_are_refused() -> None:
    with pytest.raises(UserError, match="pvt_v2"):
        MetaRSNetwork(TWO, CLASSES, backbone="test_convnext")
    with pytest.raises(UserError, match="within 0 and 1"):
        TestMetaRS.make(TWO, start=2.0)
