"""Identities of SGF and MAS (dossier sections 3-5 and 16), on small maps."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare

from methods.sgma.network import draw_modalities, invert_robustness, sampling_probabilities
from methods.sgma.sgf import ModalityProjector, RobustnessPerceptron, SGFScale, Tokens
from tests.support.reference_sgf import literal_sgf
from usererror import UserError

NAMES = ("rgb", "dsm", "nir")


def scale(channels: int = 32, slots: int = 5, names=NAMES, **options) -> SGFScale:
    torch.manual_seed(0)
    part = SGFScale(channels, slots, names, **options)
    with torch.no_grad():
        # sharper attention than at initialisation, so that differences show
        part.semantic_filter.weight.mul_(5)
        for parameter in (
            part.sp.query.weight,
            part.sp.key.weight,
            part.rp.query.weight,
            part.rp.key.weight,
        ):
            parameter.mul_(3)
    return part.eval()


def maps(
    names=NAMES, channels: int = 32, side: int = 6, batch: int = 2, seed: int = 1
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {m: 3 * torch.randn(batch, channels, side, side + 1, generator=generator) for m in names}


def tokens(part: SGFScale, given: dict[str, torch.Tensor]) -> list[Tokens]:
    return [part.project_modality(m, feature) for m, feature in given.items()]


@pytest.mark.parametrize(
    "options", [{}, {"proto_norm": "none"}, {"attn_bias": True, "depthwise_bias": True}]
)
@pytest.mark.parametrize("training", [True, False])
def test_fused_form_equals_the_literal_equations(options, training):
    part, given = scale(**options).train(training), maps()
    if options.get("attn_bias"):
        for name, parameter in part.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter)
    # float64 separates a wrong term from rounding, which hard attention magnifies
    part, given = part.double(), {m: x.double() for m, x in given.items()}
    results = []
    for function in (lambda: part.fuse(tokens(part, given)), lambda: literal_sgf(part, given)):
        fused, robustness = function()
        part.zero_grad()
        (fused.square().sum() + robustness.square().sum()).backward()
        results.append(
            [fused.detach(), robustness.detach(), *(p.grad.clone() for p in part.parameters())]
        )
    for fused_form, literal in zip(*results, strict=True):
        torch.testing.assert_close(fused_form, literal, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("heads", [(8, 4), (4, 4), (2, 8)])
def test_fused_form_is_exact_to_rounding_in_single_precision(heads):
    torch.manual_seed(0)
    part, given = SGFScale(64, 5, NAMES, *heads), maps(channels=64, side=16)
    given = {m: x / 3 for m, x in given.items()}
    for training in (True, False):
        with torch.no_grad():
            results = part.train(training).fuse(tokens(part, given)), literal_sgf(part, given)
        for fused_form, literal in zip(*results, strict=True):
            assert (fused_form - literal).abs().max() < 1e-5


@pytest.mark.parametrize("grad", [True, False])
def test_turns_over_pixels_change_nothing(monkeypatch, grad):
    part, given = scale(slots=25).double(), {m: x.double() for m, x in maps().items()}
    results = []
    for budget in (1 << 30, 3 * 2 * 8 * 25 * 5):
        monkeypatch.setattr("methods.sgma.sgf.TRAINING_BUDGET", budget)
        monkeypatch.setattr("methods.sgma.sgf.INFERENCE_BUDGET", budget)
        with torch.set_grad_enabled(grad):
            fused, _ = part.fuse(tokens(part, given))
        part.zero_grad()
        if grad:
            fused.square().sum().backward()
        results.append([fused.detach(), *(p.grad.clone() for p in part.parameters() if grad)])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("proto_norm", ["mean", "none", "softmax"])
def test_robustness_is_a_distribution(proto_norm):
    part = scale(proto_norm=proto_norm)
    _, robustness = part.fuse(tokens(part, maps()))
    assert (robustness >= 0).all()
    torch.testing.assert_close(robustness.sum(0), torch.ones(2, 6, 7), rtol=0, atol=1e-5)
    for training in (True, False):
        _, alone = part.train(training).fuse(tokens(part, maps(("dsm",))))
        assert (alone == 1).all()


def test_one_modality_needs_neither_prototypes_nor_sp():
    part, given = scale(), maps(("nir",))
    f = part.projectors["nir"](given["nir"])
    expected = part.rp.out(part.rp.value(f))
    for training in (True, False):
        part.train(training)
        first, _ = part.fuse(tokens(part, given))
        torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-4)
        for parameter in (*part.sp.parameters(), *part.semantic_filter.parameters()):
            torch.nn.init.normal_(parameter)
        second, _ = part.fuse(tokens(part, given))
        torch.testing.assert_close(second, first, rtol=0, atol=1e-6)


def test_order_of_modalities_only_permutes_the_maps():
    part, given = scale(), maps()
    fused, robustness = part.fuse(tokens(part, given))
    turned, permuted = part.fuse(tokens(part, {m: given[m] for m in ("nir", "rgb", "dsm")}))
    torch.testing.assert_close(turned, fused, rtol=0, atol=1e-5)
    torch.testing.assert_close(permuted, robustness[[2, 0, 1]], rtol=0, atol=1e-5)


def test_slots_carry_no_class():
    part, given = scale(), maps()
    fused, _ = part.fuse(tokens(part, given))
    with torch.no_grad():
        order = torch.tensor([3, 0, 4, 1, 2])
        part.semantic_filter.weight.copy_(part.semantic_filter.weight[order].clone())
        part.semantic_filter.bias.copy_(part.semantic_filter.bias[order].clone())
    torch.testing.assert_close(part.fuse(tokens(part, given))[0], fused, rtol=0, atol=1e-5)


def test_prototypes_are_linear_in_their_parts():
    part = scale(proto_norm="none")
    both = tokens(part, maps(("rgb", "dsm")))
    torch.testing.assert_close(
        part.sum_prototypes(both), part.sum_prototypes(both[:1]) + part.sum_prototypes(both[1:])
    )


def test_softmax_prototypes_are_a_weighted_mean_over_all_vectors():
    part, given = scale(proto_norm="softmax"), maps()
    vectors = torch.cat([part.projectors[m](x).flatten(2) for m, x in given.items()], 2)
    scores = torch.einsum("kc,bcn->bkn", part.semantic_filter.weight[:, :, 0, 0], vectors)
    scores = scores + part.semantic_filter.bias[:, None]
    expected = torch.einsum("bkn,bcn->bkc", scores.softmax(2), vectors)
    torch.testing.assert_close(
        part.sum_prototypes(tokens(part, given)), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("proto_norm", ["mean", "softmax"])
def test_normalised_prototypes_do_not_depend_on_the_size(proto_norm):
    part = scale(proto_norm=proto_norm)

    def prototypes(repeat: int) -> torch.Tensor:
        doubled = []
        for token in tokens(part, maps()):
            f = token.features.repeat_interleave(repeat, 2).repeat_interleave(repeat, 3)
            scores = part.semantic_filter(f).flatten(2)
            weights = scores.softmax(2) if proto_norm == "softmax" else scores
            doubled.append(
                token._replace(features=f, part=weights @ f.flatten(2).mT, mass=scores.logsumexp(2))
            )
        return part.sum_prototypes(doubled)

    torch.testing.assert_close(prototypes(2), prototypes(1), rtol=1e-4, atol=1e-5)


def test_prototypes_of_a_masked_sample_are_those_of_its_subset():
    for proto_norm in ("mean", "none", "softmax"):
        part = scale(proto_norm=proto_norm)
        all_three = tokens(part, maps())
        present = torch.tensor([[True, True], [False, True], [True, True]])
        masked = part.sum_prototypes(all_three, present)
        subset = part.sum_prototypes([all_three[0], all_three[2]])
        torch.testing.assert_close(masked[0], subset[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            masked[1], part.sum_prototypes(all_three)[1], rtol=1e-5, atol=1e-5
        )


def test_merged_kernel_equals_three_convolutions():
    for bias in (True, False):
        torch.manual_seed(0)
        projector = ModalityProjector(8, (3, 7, 11), depthwise_bias=bias)
        x = torch.randn(2, 8, 9, 12)
        with torch.no_grad():
            expected = projector.train()(x)
            torch.testing.assert_close(projector.eval()(x), expected, rtol=1e-5, atol=1e-5)
            projector.depthwise[1].weight.mul_(2)  # in eval mode, without a call of train()
            changed = projector(x)
            torch.testing.assert_close(changed, projector.train()(x), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(changed, expected, atol=1e-3)


def test_sequential_projector_is_a_chain():
    torch.manual_seed(0)
    projector = ModalityProjector(4, (3, 5), mode="sequential")
    x = torch.randn(1, 4, 8, 8)
    expected = projector.pointwise(projector.depthwise[1](projector.depthwise[0](x)))
    for training in (True, False):
        torch.testing.assert_close(projector.train(training)(x), expected)


def test_options_that_cannot_be():
    for options, word in (
        ({"sp_heads": 5}, "5 heads"),
        ({"kernels": (3, 4)}, "odd"),
        ({"proto_norm": "sum"}, "proto_norm"),
        ({"mp_mode": "both"}, "mp_mode"),
    ):
        with pytest.raises(UserError, match=word):
            SGFScale(32, 5, NAMES, **options)


def simplex(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(0)


def test_inverted_maps_sum_to_one_and_reverse_the_order_per_pixel():
    r = simplex(4, 2, 5, 6)
    inverted = invert_robustness(r)
    torch.testing.assert_close(inverted.sum(0), torch.ones(2, 5, 6))
    torch.testing.assert_close(sampling_probabilities(r).sum(0), torch.ones(2))
    more_robust = r[:, None] > r[None] + 1e-6
    assert (inverted[:, None] < inverted[None])[more_robust].all()
    two = simplex(2, 1, 5, 5)
    torch.testing.assert_close(invert_robustness(two), two.flip(0))
    uniform = torch.full((3, 2, 4, 4), 1 / 3)
    torch.testing.assert_close(sampling_probabilities(uniform), torch.full((3, 2), 1 / 3))


def test_spatial_means_need_not_reverse_the_order():
    """The dossier's two-pixel example (section 5)."""
    r = torch.tensor([[0.30, 0.30], [0.02, 0.60], [0.68, 0.10]])[:, None, None]
    torch.testing.assert_close(
        sampling_probabilities(r)[:, 0], torch.tensor([0.14, 0.51, 0.35]), rtol=0, atol=0.005
    )


def test_inversion_of_one_head_is_softmin():
    logits = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        invert_robustness(logits.softmax(0)), (-logits).softmax(0), rtol=1e-4, atol=1e-6
    )


def test_inversion_survives_zeros_and_half_precision():
    r = torch.tensor([1.0, 0.0, 0.0])[:, None, None, None]
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        inverted = invert_robustness(r.to(dtype))
        assert inverted.dtype == torch.float32 and inverted.isfinite().all()
        torch.testing.assert_close(
            inverted.flatten(), torch.tensor([0.0, 0.5, 0.5]), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("per_batch", [False, True])
def test_draws_follow_the_probabilities(per_batch):
    torch.manual_seed(0)
    s = torch.tensor([0.6, 0.3, 0.1])
    if per_batch:
        draws = torch.stack(
            [draw_modalities(s[:, None].expand(3, 2), per_batch=True) for _ in range(10_000)]
        )
        assert (draws[:, 0] == draws[:, 1]).all()
        draws = draws[:, 0]
    else:
        draws = draw_modalities(s[:, None].expand(3, 10_000))
    assert chisquare(torch.bincount(draws, minlength=3).numpy(), (s * 10_000).numpy()).pvalue > 0.01


def test_draws_of_each_sample_use_its_own_probabilities():
    s = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    assert draw_modalities(s).tolist() == [0, 2, 1]


def test_absent_modalities_are_never_drawn():
    r = simplex(3, 500, 2, 2)
    present = torch.ones(3, 500, dtype=torch.bool)
    present[0, :250] = False
    s = sampling_probabilities(r, present)
    assert (s[0, :250] == 0).all()
    torch.testing.assert_close(s.sum(0), torch.ones(500))
    for per_batch in (False, True):
        assert (draw_modalities(s, per_batch, present)[:250] > 0).all()


def test_unnormalised_prototypes_survive_half_precision():
    """Products near float16's limit (dossier 3.3): prototypes, queries and slot logits stay
    float32.
    """
    part = scale(proto_norm="none")
    with torch.no_grad():
        part.semantic_filter.weight.mul_(100)
    given = maps(side=40)
    with torch.autocast("cpu", torch.bfloat16):
        parts = tokens(part, given)
        prototypes = part.sum_prototypes(parts)
        fused, robustness = part.fuse(parts)
    assert parts[0].part.dtype == prototypes.dtype == robustness.dtype == torch.float32
    assert prototypes.abs().max() > 65_504
    assert fused.isfinite().all() and robustness.isfinite().all()
    # float16 storage of the tokens, as on a GPU
    halves = [
        token._replace(**{k: getattr(token, k).half() for k in ("sp_key", "sp_value")})
        for token in tokens(part, given)
    ]
    weights = part.sp.mean_weights(part.sum_prototypes(halves), [t.sp_key for t in halves], None)
    assert weights.dtype == torch.float32 and weights.isfinite().all()


def test_robustness_perceptron_averages_its_heads():
    torch.manual_seed(0)
    block = RobustnessPerceptron(16, 4)
    guide, keys = torch.randn(1, 16, 2, 2), [torch.randn(1, 16, 2, 2) for _ in range(3)]
    _, robustness = block(guide, keys, keys)
    q = block.query(guide).reshape(4, 4, 4)
    logits = torch.stack([(q * key.reshape(4, 4, 4)).sum(1) / 2 for key in keys])
    torch.testing.assert_close(
        robustness.flatten(1), logits.softmax(0).mean(1), rtol=1e-5, atol=1e-6
    )
