"""CMNeXt's parts and the whole of them against the equations taken literally (dossier 5.1, 5.5)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.cmnext.auxiliary import AuxiliaryStage, PoolingBlock
from methods.cmnext.exchange import CrossFusion, Rectification
from methods.cmnext.network import CMNeXtNetwork, initialise_weights, scramble_map
from methods.control.network import ControlNetwork
from methods.parts.backbones import create_pyramid
from tests.support.method_checks import (
    CHANNELS,
    images,
)
from tests.support.reference_cmnext import (
    average,
    fused,
    hub,
    literal_features,
    ppx_block,
    rectified,
)
from usererror import UserError

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lively(module: Any) -> Any:
    """In eval mode, with weights and statistics far from where they start."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + 0.1)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.2, generator=generator)
                part.running_var.uniform_(0.5, 2, generator=generator)
    return module.eval()


def network(count: int = 3, **options: Any) -> CMNeXtNetwork:
    torch.manual_seed(0)
    sensors = dict(list(CHANNELS.items())[:count])
    built = CMNeXtNetwork(sensors, 4, **{"backbone": "pvt_v2_b0", "head_width": 8, **options})
    if count > 1:
        for part in (built.auxiliary, built.rectification, built.fusion):
            for scale in [p for name, p in part.named_parameters() if "scales" in name]:
                nn.init.normal_(scale, 0.5)
    return built.eval()


@torch.no_grad()
@pytest.mark.parametrize("ratio", [4, 8])
@pytest.mark.parametrize("sides", [(3, 2), (14, 17)])
def test_a_pooling_block_is_its_equations(ratio: int, sides: tuple[int, int]) -> None:
    block, given = lively(PoolingBlock(6, ratio)), noise(2, 6, *sides)
    torch.testing.assert_close(block(given), ppx_block(block, given), **CLOSE)


@torch.no_grad()
def test_pools_do_not_count_padding() -> None:
    """A constant stays one; the reference's means are sums over counted pixels."""
    block = lively(PoolingBlock(3, 4))
    constant = torch.ones(1, 3, 5, 9)
    nn.init.zeros_(block.depthwise.weight)  # d is its bias everywhere
    attended = block.attend(constant)
    torch.testing.assert_close(attended, attended[..., :1, :1].expand_as(attended))
    for side in (3, 7, 11):
        torch.testing.assert_close(average(constant, side), constant)


@torch.no_grad()
def test_without_scales_a_pooling_block_only_shrinks() -> None:
    block, given = lively(PoolingBlock(6, 4)), noise(2, 6, 5, 5)
    for scale in block.scales:
        nn.init.zeros_(scale)
    shares = block(given) / given
    torch.testing.assert_close(shares, shares[..., :1, :1].expand_as(shares), rtol=1e-4, atol=0)
    assert ((shares > 0) & (shares < 1)).all()


def stage(names: tuple[str, ...]) -> AuxiliaryStage:
    return lively(AuxiliaryStage(names, 3, 6, 4, 2, [0.0]))


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_hub_is_its_equations(count: int) -> None:
    names = tuple("abc"[:count])
    built, given = stage(names), {m: noise(2, 3, 24, 16, seed=ord(m)) for m in names}
    raised, largest = hub(built, given)
    found = built.embed_maps(given)
    torch.testing.assert_close(found, raised, **CLOSE)
    torch.testing.assert_close(built.merge_maps(found), largest, **CLOSE)


@torch.no_grad()
def test_the_hub_knows_no_order_and_equal_sensors_are_one() -> None:
    built, given = stage(("a", "b", "c")), {m: noise(1, 3, 16, 16, seed=ord(m)) for m in "abc"}
    merged = built(built.embed_maps(given))
    turned = stage(("c", "a", "b"))
    turned.load_state_dict(built.state_dict())
    swapped = turned.embed_maps({m: given[m] for m in "bca"})
    torch.testing.assert_close(turned(swapped), merged)
    for name in ("norms", "scorers"):
        parts = getattr(built, name)
        for m in "bc":
            parts[m].load_state_dict(parts["a"].state_dict())
    same = built.embed_maps(dict.fromkeys("abc", given["a"]))
    normed = built.norms["a"](built.embed(given["a"]))
    expected = (1 + built.scorers["a"](normed)) * normed
    torch.testing.assert_close(built.merge_maps(same), expected)


@torch.no_grad()
def test_rectification_is_its_equations() -> None:
    frm, given = lively(Rectification(6)), (noise(2, 6, 5, 7), noise(2, 6, 5, 7, seed=1))
    torch.testing.assert_close(frm(*given), rectified(frm, *given), **CLOSE)


@torch.no_grad()
def test_rectification_with_open_gates_adds_a_half() -> None:
    """Both weights are sigmoid(0) = 1/2, so x + (1/4 + 1/4) a; inputs swap with outputs then."""
    frm, given = lively(Rectification(6)), (noise(2, 6, 5, 7), noise(2, 6, 5, 7, seed=1))
    for part in (frm.by_channel, frm.by_pixel):
        nn.init.zeros_(part[-1].weight)
        nn.init.zeros_(part[-1].bias)
    x, a = given
    torch.testing.assert_close(frm(x, a), (x + 0.5 * a, a + 0.5 * x))
    torch.testing.assert_close(frm(a, x), (a + 0.5 * x, x + 0.5 * a))


@torch.no_grad()
def test_rectification_with_symmetric_weights_swaps_with_its_inputs() -> None:
    frm, x, a = lively(Rectification(6)), noise(2, 6, 5, 7), noise(2, 6, 5, 7, seed=1)
    order = torch.arange(24).unflatten(0, (2, 2, 6)).flip(1).flatten()  # of [avg; max] of [x, a]
    for layers, inputs, halves in (
        (frm.by_channel, order, torch.arange(12).roll(6)),
        (frm.by_pixel, torch.arange(12).roll(6), torch.arange(2).roll(1)),
    ):
        first, last = layers[0], layers[2]
        first.weight.copy_((first.weight + first.weight[:, inputs]) / 2)
        last.weight.copy_((last.weight + last.weight[halves]) / 2)
        last.bias.copy_((last.bias + last.bias[halves]) / 2)
    torch.testing.assert_close(frm(a, x), frm(x, a)[::-1], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("heads", [1, 2])
def test_fusion_is_its_equations(heads: int) -> None:
    ffm, given = lively(CrossFusion(6, heads)), (noise(2, 6, 5, 7), noise(2, 6, 5, 7, seed=1))
    torch.testing.assert_close(ffm(*given), fused(ffm, *given), **CLOSE)


@torch.no_grad()
def test_contexts_sum_to_one_over_the_keys() -> None:
    ffm = lively(CrossFusion(6, 2))
    for side in range(2):
        context = ffm.context(side, noise(2, 35, 6))
        assert context.shape == (2, 2, 3, 3)
        torch.testing.assert_close(context.sum(-2), torch.ones(2, 2, 3))
        assert not torch.allclose(context.sum(-1), torch.ones(2, 2, 3), atol=0.1)


@torch.no_grad()
def test_constant_maps_stay_constant_inside() -> None:
    """Only the depth-wise convolution sees the border."""
    ffm = lively(CrossFusion(6, 2))
    maps = [noise(1, 6, 1, 1, seed=seed).expand(-1, -1, 7, 9) for seed in (0, 1)]
    inside = ffm(*maps)[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside), **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_whole_is_its_equations(count: int) -> None:
    built = network(count)
    given = {m: noise(2, 3, 64, 96, seed=seed) for seed, m in enumerate(built.modalities)}
    found = built.fuse(built.encode(given))[1]["features"]
    torch.testing.assert_close(found, literal_features(built, given), rtol=1e-3, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["pvt_v2_b0", "resnet18"])
def test_without_exchange_the_primary_is_the_plain_encoder(backbone: str) -> None:
    built = network(backbone=backbone, heads=[1, 1, 1, 1])
    given, seen = images(CHANNELS, size=(64, 96)), []
    plain = create_pyramid(backbone).eval()
    plain.load_state_dict(built.encoder.pyramid.state_dict())
    del given["event"]
    for frm in built.rectification:
        frm.share = 0.0
        frm.register_forward_hook(lambda _, inputs, outputs: seen.append((*inputs, *outputs)))
    for stage in built.auxiliary:
        for block in stage.blocks:
            for scale in block.scales:
                nn.init.zeros_(scale)
    built(given)
    for (primary, other, met, back), expected in zip(seen, plain(given["rgb"]), strict=True):
        torch.testing.assert_close(primary, expected)
        assert torch.equal(met, primary) and torch.equal(back, other)


@torch.no_grad()
def test_a_reduced_encoder_gets_back_what_rectification_changed() -> None:
    """W_s (x' - x), here with W = 0 and with W that undoes a reduction by an orthogonal matrix."""
    built, given = network(backbone="resnet18", reduction=[64, 128, 256, 512], heads=[1] * 4), {}
    for m, channels in built.channels.items():
        given[m] = noise(1, channels, 64, 64, seed=channels)
    plain = network(backbone="resnet18", heads=[1] * 4)
    missing = plain.load_state_dict(built.state_dict(), strict=False)
    assert all(name.startswith(("feedback", "encoder.red")) for name in missing.unexpected_keys)
    assert not missing.missing_keys
    for layer in built.encoder.reduction:
        layer.weight.copy_(torch.eye(len(layer.weight))[..., None, None])
    primary = []
    for pyramid in (built.encoder.pyramid, create_pyramid("resnet18").eval()):
        pyramid.load_state_dict(built.encoder.pyramid.state_dict())
        pyramid["layer4"].register_forward_hook(lambda _, __, output: primary.append(output))
    built(given)
    pyramid(given["rgb"])
    torch.testing.assert_close(*primary)
    for layer in built.feedback:
        layer.weight.copy_(torch.eye(len(layer.weight))[..., None, None])
    torch.testing.assert_close(built(given), plain(given), **CLOSE)


@torch.no_grad()
def test_one_modality_is_the_control() -> None:
    built, given = network(1), images({"rgb": 3})
    control = ControlNetwork(["rgb"], 4, backbone="pvt_v2_b0", head_width=8).eval()
    control.load_state_dict(built.state_dict())
    torch.testing.assert_close(built(given), control(given), rtol=0, atol=0)


@torch.no_grad()
def test_restored_as_released_the_values_of_a_map_are_scrambled() -> None:
    order = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    scrambled, given = scramble_map(order), noise(2, 3, 4, 5)
    assert scrambled.shape == order.shape and not torch.equal(scrambled, order)
    for sample in range(2):
        assert torch.equal(scrambled[sample].flatten().sort().values, order[sample].flatten())
    # the same permutation of whatever a map holds
    places = scrambled.flatten().long()
    assert torch.equal(scramble_map(given).flatten(), given.flatten()[places])
    # what is added lies where it was: value (c, y, x) of the sum takes e at (y w + x) C + c
    for c, y, x in ((0, 0, 0), (2, 1, 3), (1, 3, 4)):
        assert scrambled[0, c, y, x] == (y * 5 + x) * 3 + c
    given = images(CHANNELS)
    aligned, released = network(4), network(4, restore="released")
    assert not torch.allclose(aligned(given), released(given), atol=1e-3)
    two = {m: given[m] for m in ("rgb", "dsm")}
    assert torch.equal(network(2)(two), network(2, restore="released")(two))


def test_weights_start_with_the_variance_of_their_fan_out() -> None:
    """The release leaves depth-wise convolutions smaller by the root of their number."""
    torch.manual_seed(0)
    for layer, expected in (
        (nn.Conv2d(64, 128, 3), (2 / (9 * 128)) ** 0.5),
        (nn.Conv2d(512, 512, 7, groups=512), (2 / 49) ** 0.5),
        (nn.Linear(200, 200), 0.02),
    ):
        initialise_weights(layer)
        assert float(layer.weight.std()) == pytest.approx(expected, rel=0.03)
        assert not layer.bias.any()


def test_what_cannot_be_configured() -> None:
    for options, word in (
        ({"primary": "lidar"}, "none of"),
        ({"absent": "mean"}, "zeros nor drop"),
        ({"restore": "none"}, "aligned nor released"),
        ({"heads": [1, 2, 5, 7]}, "do not divide"),
        ({"heads": [1, 2, 5]}, "4 numbers"),
        ({"backbone": "hiera_tiny_224"}, "PVT-v2 or ResNet"),
    ):
        with pytest.raises(UserError, match=word):
            network(**options)
