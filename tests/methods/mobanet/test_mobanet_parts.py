"""MoBaNet's modules one by one: prompts, adapters, gate, positions, decoder (dossier 2, checks 3 -
8).
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from methods.frozen_vit import FrozenViT
from methods.mobanet.decoder import AuxiliaryHead, UPerHead
from methods.mobanet.fusion import CPIA, DGFM, Adapter
from methods.mobanet.network import MoBaNetNetwork
from tests.support import reference_mobanet as reference

WIDTH = 48


def maps(streams: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, WIDTH, 5, 7, generator=generator) for _ in range(streams)]


def rows(streams: int, seed: int = 0) -> list[torch.Tensor]:
    return [x.permute(0, 2, 3, 1) for x in maps(streams, seed)]


def gate(streams: int, initial: bool = False) -> DGFM:
    torch.manual_seed(0)
    module = DGFM(streams, WIDTH)
    if not initial:
        for p in module.parameters():
            torch.nn.init.normal_(p, std=0.3)
    return module


@pytest.mark.parametrize("streams", [2, 3, 4])
def test_the_gate_starts_as_the_mean(streams):
    """Check 3; exact for two, to rounding for more."""
    module, given = gate(streams, initial=True), maps(streams)
    mean = sum(given) / streams
    tolerance = {"rtol": 0, "atol": 0} if streams == 2 else {}
    torch.testing.assert_close(module(given), mean, **tolerance)
    torch.testing.assert_close(module(given[::-1]), mean, **tolerance)


@pytest.mark.parametrize("streams", [2, 3, 4])
def test_the_gate_is_a_convex_combination(streams):
    """Check 4."""
    module, given = gate(streams), maps(streams)
    shares = module.stream_shares(given)
    assert shares.shape == (2, streams, WIDTH, 5, 7)
    assert (shares > 0).all() and (shares < 1).all()
    torch.testing.assert_close(shares.sum(1), torch.ones(2, WIDTH, 5, 7))
    torch.testing.assert_close(module([given[0]] * streams), given[0])
    assert not torch.allclose(module(given), sum(given) / streams, atol=1e-2)


def test_the_gate_of_two_is_a_sigmoid():
    """Eq. 12 - 15 on token rows, with GroupNorm over a sample by hand."""
    module, (one, two) = gate(2), rows(2)
    w = {f"dgfm.0.{name}": p for name, p in module.named_parameters()}
    w |= {"norms.0.weight": torch.ones(WIDTH), "norms.0.bias": torch.zeros(WIDTH)}
    expected = reference.gated(w, 0, one.flatten(1, 2), two.flatten(1, 2))
    fused = module(maps(2)).permute(0, 2, 3, 1).flatten(1, 2)
    torch.testing.assert_close(F.layer_norm(fused, (WIDTH,)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("streams", [2, 3])
def test_prompts_are_affine(streams):
    """Check 5: P(x, 0) + P(0, y) - P(0, 0) == P(x, y), in float64."""
    torch.manual_seed(0)
    module, given = CPIA(streams, WIDTH).double(), [x.double() for x in rows(streams)]
    zeros = [torch.zeros_like(x) for x in given]
    nothing, everything = module.stream_prompts(zeros), module.stream_prompts(given)
    alone = [
        module.stream_prompts([x if i == j else z for j, z in enumerate(zeros)])
        for i, x in enumerate(given)
    ]
    for stream in range(streams):
        total = sum(prompts[stream] for prompts in alone) - (streams - 1) * nothing[stream]
        torch.testing.assert_close(total, everything[stream])


def test_prompts_have_the_initial_size_of_the_analysis():
    """Dossier 2.4: no identity; unit-variance tokens get prompts of RMS about 0.40 (C = 768)."""
    torch.manual_seed(0)
    module = CPIA(2, 768)
    given = [torch.randn(1, 20, 20, 768) for _ in range(2)]
    with torch.no_grad():
        sizes = [prompt.square().mean().sqrt().item() for prompt in module.stream_prompts(given)]
    assert sizes == pytest.approx([0.40, 0.40], abs=0.02)
    vectors = torch.cat(
        [
            torch.stack([gamma - 1, beta])
            for gamma, beta in zip(module.gamma, module.beta, strict=True)
        ]
    )
    assert vectors.std().item() == pytest.approx(0.02, rel=0.1)


def test_prompts_are_added():
    module, given = CPIA(2, WIDTH), rows(2)
    for out, tokens, prompt in zip(module(given), given, module.stream_prompts(given), strict=True):
        assert torch.equal(out, tokens + prompt)


@pytest.mark.parametrize("training", [False, True])
def test_adapters_start_as_the_identity(training):
    """Check 6."""
    module, given = CPIA(2, WIDTH, adapters=True).train(training), rows(2)
    assert all(torch.equal(out, tokens) for out, tokens in zip(module(given), given, strict=True))


def test_an_adapter_is_equation_9():
    module = Adapter(WIDTH).eval()
    for p in module.parameters():
        torch.nn.init.normal_(p)
    tokens, prompt = rows(2)
    w = {f"a.{name}": p for name, p in module.named_parameters()}
    inner = (reference.linear(w, "a.down", tokens) + reference.linear(w, "a.prompt", prompt)).clamp(
        min=0
    )
    torch.testing.assert_close(module(tokens, prompt), tokens + reference.linear(w, "a.up", inner))
    assert not torch.equal(module.train()(tokens, prompt), module(tokens, prompt)), (
        "dropout in training"
    )


def test_the_class_token_does_not_take_part():
    """Check 5: every stream starts with the same one, and CPIA never sees it."""
    network = MoBaNetNetwork({"rgb": 3, "dsm": 1}, 3, "vit_tiny_patch8")
    shapes, seen = [], []
    for cpia in network.cpia:
        cpia.register_forward_hook(
            lambda _, given, out: shapes.extend(x.shape[1:3] for x in given[0])
        )
    network.backbone.model.blocks[0].register_forward_hook(
        lambda _, given, out: seen.append(given[0])
    )
    given = {"rgb": torch.randn(2, 3, 40, 48), "dsm": torch.randn(2, 1, 40, 48)}
    network.eval().fuse(network.encode(given))
    assert shapes == [(5, 6)] * 8
    model = network.backbone.model
    expected = (model.cls_token + model.pos_embed[:, :1]).expand(2, -1, -1)
    assert (
        all(x.shape[1] == 31 and torch.equal(x[:, :1], expected) for x in seen) and len(seen) == 2
    )


@pytest.fixture(scope="module")
def vit() -> FrozenViT:
    """A tiny width, but DINOv2's table of 37 x 37 positions, with values that show every cell."""
    module = FrozenViT("vit_tiny_patch8")
    module.model.pos_embed = torch.randn(
        1, 1 + 37 * 37, 6, generator=torch.Generator().manual_seed(0)
    )
    module.model.patch_embed.grid_size = (37, 37)
    return module


def test_positions_at_the_native_grid_are_the_stored_ones(vit):
    """Check 8."""
    stored = vit.model.pos_embed[:, 1:].reshape(1, 37, 37, 6)
    assert torch.equal(vit.positions_at((37, 37)), stored)


@pytest.mark.parametrize("grid", [(19, 19), (18, 18), (19, 22), (40, 37), (5, 61)])
def test_positions_follow_the_original_rule(vit, grid):
    """Check 8: scale (19 + 0.1) / 37, no antialiasing, row-major; against Keys' kernel by hand."""
    expected = reference.positions(vit.model.pos_embed, 37, grid)[:, 1:].reshape(1, *grid, 6)
    torch.testing.assert_close(vit.positions_at(grid), expected, rtol=1e-4, atol=2e-5)


def test_positions_are_not_those_of_an_antialiased_resize(vit):
    table = vit.model.pos_embed[:, 1:].reshape(1, 37, 37, 6).permute(0, 3, 1, 2)
    other = F.interpolate(table, (19, 19), mode="bicubic", antialias=True).permute(0, 2, 3, 1)
    assert (vit.positions_at((19, 19)) - other).abs().mean() > 0.1


def test_positions_of_sam_are_resized_to_the_grid():
    module = FrozenViT("samvit_tiny_patch8")
    module.model.pos_embed = torch.randn(1, 16, 16, 4)
    assert torch.equal(module.positions_at((16, 16)), module.model.pos_embed)
    rows, columns = reference.axis_matrix(6, 16, 6 / 16), reference.axis_matrix(20, 16, 20 / 16)
    expected = torch.einsum(
        "ia,jb,nabc->nijc", rows, columns, module.model.pos_embed.double()
    ).float()
    torch.testing.assert_close(module.positions_at((6, 20)), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["vit_tiny_patch8", "samvit_tiny_patch8"])
def test_stages_are_the_backbones_own_forward(name):
    """At the native size, four stages in a row are what timm computes."""
    torch.manual_seed(0)
    module, image = FrozenViT(name, seed=3), torch.randn(2, 3, 128, 128)
    patches, token = module.embed_patches(image), module.class_token(2)
    assert (token is None) == module.sam
    for number in range(4):
        token, patches = module.run_stage(number, token, patches)
    features = module.model.forward_features(image)
    expected = features.permute(0, 2, 3, 1) if module.sam and features.shape[1] == 192 else features
    if not module.sam:
        expected = features[:, 1:].unflatten(1, (16, 16))
    torch.testing.assert_close(module.stage_feature(patches), expected)


@pytest.mark.parametrize("name", ["vit_tiny_patch8", "samvit_tiny_patch8"])
def test_untrained_blocks_do_something(name):
    """timm starts LayerScale at 1e-5 (trap a of dossier 5)."""
    module = FrozenViT(name)
    patches, token = module.embed_patches(torch.randn(1, 3, 64, 64)), module.class_token(1)
    after = module.run_stage(0, token, patches)[1]
    assert (after - patches).square().mean().sqrt() > 0.02


def test_decoder_equals_the_textbook_order():
    torch.manual_seed(0)
    head, levels = UPerHead(5), [torch.randn(2, 256, 9, 11) for _ in range(4)]
    head.train()(levels)
    head.eval()
    w = {f"head.{name}": value for name, value in (*head.named_parameters(), *head.named_buffers())}
    torch.testing.assert_close(head(levels), reference.uper(w, levels), rtol=1e-4, atol=1e-5)


def test_auxiliary_head_has_one_hidden_layer():
    head = AuxiliaryHead(5).eval()
    x = torch.randn(1, 256, 4, 4)
    w = {f"a.{name}": value for name, value in head[0].state_dict().items()}
    hidden = reference.conv_block(w, "a", x)
    torch.testing.assert_close(head(x), F.conv2d(hidden, head[2].weight), rtol=1e-4, atol=1e-5)
