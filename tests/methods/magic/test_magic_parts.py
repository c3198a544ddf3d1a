"""Gate, phi, ranking, filtered targets and consistency of MAGIC, each against algebra or brute
force (dossier 5).
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from methods.magic.aggregation import (
    Aggregation,
    NeighbourhoodGate,
    ScalarMLP,
    mean_of_present,
    mixing_phi,
)
from methods.magic.losses import (
    channel_correlations,
    correlation_consistency,
    filtered_targets,
    map_consistency,
    pair_consistency,
    rest_to_salient,
    symmetric_divergence,
)
from methods.magic.selection import cosine_similarities, pick_modality, select_modalities
from methods.parts.losses import cross_entropy


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_average_pools_ignore_padding():
    """Check 4, also on maps smaller than the pools; each average is that of the pixels inside."""
    gate = NeighbourhoodGate(3)
    for size in ((16, 20), (4, 3), (1, 1)):
        for average in gate.pool_averages(torch.full((1, 3, *size), 0.7)):
            torch.testing.assert_close(average, torch.full((1, 3, *size), 0.7))
    maps = random(1, 3, 6, 8)
    for side, average in zip((3, 7, 11), gate.pool_averages(maps), strict=True):
        reach = side // 2
        for y, x in ((0, 0), (2, 7), (3, 4)):
            inside = maps[
                0, :, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1
            ]
            torch.testing.assert_close(average[0, :, y, x], inside.mean((1, 2)))


def test_gate_as_the_equation_reads():
    torch.manual_seed(0)
    gate, maps = NeighbourhoodGate(4), random(2, 4, 9, 7)
    context = F.conv2d(
        F.pad(maps, (3, 3, 3, 3)), gate.depthwise.weight, gate.depthwise.bias, groups=4
    )
    ones = torch.ones(1, 1, 9, 7)
    total = context.clone()
    for side in (3, 7, 11):
        box = torch.ones(1, 1, side, side)
        sums = F.conv2d(context.flatten(0, 1)[:, None], box, padding=side // 2) / F.conv2d(
            ones, box, padding=side // 2
        )
        total += sums[:, 0].unflatten(0, (2, 4))
    weights = (
        torch.einsum("oc,bchw->bohw", gate.pointwise.weight[..., 0, 0], total)
        + gate.pointwise.bias[:, None, None]
    )
    torch.testing.assert_close(
        gate(maps), maps * (1 + 1 / (1 + torch.exp(-weights))), rtol=1e-5, atol=1e-5
    )


def test_phi_is_the_same_function_of_every_scalar():
    torch.manual_seed(0)
    for phi in (ScalarMLP(), ScalarMLP(init="pytorch")):
        values = random(2, 3, 4, 5)
        w, b = phi.inner.weight[:, 0], phi.inner.bias
        v, c = phi.outer.weight[0], phi.outer.bias
        for place in ((0, 0, 0, 0), (1, 2, 3, 4), (0, 1, 2, 0)):
            expected = (v * (w * values[place] + b).clamp(min=0)).sum() + c[0]
            torch.testing.assert_close(phi(values)[place], expected)


def test_phi_starts_near_the_identity():
    """D4: no phi starts constant, and none turns the order of the logits round."""
    # the noise on the two hidden biases (0.02 each) leaves a gap or a step of that width at 0,
    # hence steps of 1
    line = torch.arange(-8.0, 9.0).reshape(1, 1, 1, -1)
    for seed in range(20):
        torch.manual_seed(seed)
        rise = ScalarMLP()(line).diff()
        assert (rise > 0.7).all() and (rise < 1.3).all()


def test_what_pytorchs_start_does_to_phi():
    """Dossier 4.3: about half of such phi fall from one end to the other, 70 % are not monotone."""
    torch.manual_seed(0)
    line = torch.linspace(-8, 8, 161).reshape(1, 1, 1, -1)
    found = [ScalarMLP(init="pytorch")(line) for _ in range(1000)]
    falling = sum(bool(one[..., -1] < one[..., 0]) for one in found) / 1000
    monotone = sum(bool((one.diff() >= 0).all() or (one.diff() <= 0).all()) for one in found) / 1000
    assert (
        abs(falling - 0.5) < 0.05 and abs(monotone - 0.3) < 0.05
    )  # three standard deviations of 1000 draws


def test_mixing_starts_near_the_identity():
    torch.manual_seed(0)
    layer = mixing_phi(32, "identity")
    noise = torch.cat([(layer.weight[:, :, 0, 0] - torch.eye(32)).flatten(), layer.bias]).detach()
    assert 0.018 < noise.std() < 0.022 and noise.mean().abs() < 0.003
    torch.manual_seed(0)
    assert torch.equal(mixing_phi(32, "pytorch").weight, mixing_reference(32))


def mixing_reference(channels: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.nn.Conv2d(channels, channels, 1).weight


def test_gate_is_shared_and_each_modality_has_its_own_phi():
    part = Aggregation(5, ("a", "b", "c"))
    assert set(part.phi) == {"a", "b", "c"} and set(part.salient) == {"top", "last"}
    assert len({id(phi) for phi in (*part.phi.values(), *part.salient.values())}) == 5
    assert len(Aggregation(5, ("a",)).salient) == 0


def test_mean_over_the_present():
    maps = [random(3, 2, 4, 4, seed=seed) for seed in range(3)]
    torch.testing.assert_close(mean_of_present(maps, None), (maps[0] + maps[1] + maps[2]) / 3)
    present = torch.tensor([[True, False, True], [True, True, False], [True, False, False]])
    mean = mean_of_present(maps, present)
    torch.testing.assert_close(mean[0], (maps[0][0] + maps[1][0] + maps[2][0]) / 3)
    torch.testing.assert_close(mean[1], maps[1][1])
    torch.testing.assert_close(mean[2], maps[0][2])


def test_similarity_is_that_of_the_whole_map_per_sample():
    """Check 5: scores in [-1, 1]; a modality whose map is f_se scores 1 and is `top`."""
    maps = random(4, 3, 5, 6, 7)
    fused = maps[2].clone()
    scores = cosine_similarities([fused], [maps])
    for m in range(4):
        for b in range(3):
            one, other = maps[m, b].flatten().double(), fused[b].flatten().double()
            expected = float(one @ other / (one.norm() * other.norm()))
            assert math.isclose(scores[m, b], expected, abs_tol=1e-6)
    assert scores.abs().max() <= 1
    torch.testing.assert_close(scores[2], torch.ones(3))
    assert (select_modalities(scores).top == 2).all()
    # opposite maps, several scales
    both = cosine_similarities([fused, fused], [maps, -maps])
    torch.testing.assert_close(both, torch.zeros(4, 3), rtol=0, atol=1e-6)
    assert cosine_similarities([fused], [torch.stack([fused, -fused])])[
        1
    ].tolist() == pytest.approx([-1] * 3)


def test_similarity_is_not_differentiable_and_float32():
    maps = random(2, 2, 3, 4, 4).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        scores = cosine_similarities([maps.mean(0).bfloat16()], [maps.bfloat16()])
    assert scores.dtype == torch.float32 and not scores.requires_grad


def test_selection_against_sorting():
    scores = random(4, 200).tanh()
    chosen = select_modalities(scores)
    order = scores.argsort(0)
    assert torch.equal(chosen.top, order[-1]) and torch.equal(chosen.last, order[0])
    assert chosen.pair.all() and (chosen.rest.sum(0) == 2).all()
    for sample in range(200):
        assert set(chosen.rest[:, sample].nonzero().flatten().tolist()) == set(
            order[1:3, sample].tolist()
        )


def test_two_modalities_are_top_and_last():
    """Check 5; tied scores too give two different modalities."""
    chosen = select_modalities(torch.tensor([[0.1, 0.9, 0.4], [0.3, -0.2, 0.4]]))
    assert chosen.top.tolist()[:2] == [1, 0] and chosen.last.tolist()[:2] == [0, 1]
    assert {int(chosen.top[2]), int(chosen.last[2])} == {0, 1}
    assert not chosen.rest.any()


def test_absent_modalities_are_not_selected():
    generator = torch.Generator().manual_seed(0)
    scores = random(4, 300).tanh()
    present = torch.rand(4, 300, generator=generator) < 0.5
    present[0] |= ~present.any(0)
    chosen = select_modalities(scores, present)
    for sample in range(300):
        have = present[:, sample].nonzero().flatten().tolist()
        order = sorted(have, key=lambda m: float(scores[m, sample]))
        assert (int(chosen.top[sample]), int(chosen.last[sample])) == (order[-1], order[0])
        assert bool(chosen.pair[sample]) == (len(have) > 1)
        assert chosen.rest[:, sample].nonzero().flatten().tolist() == sorted(order[1:-1])


def test_pick_takes_each_samples_own():
    maps = random(3, 4, 2, 5, 5)
    picked = pick_modality(maps, torch.tensor([2, 0, 1, 2]))
    for sample, index in enumerate((2, 0, 1, 2)):
        assert torch.equal(picked[sample], maps[index, sample])


def test_filtered_targets():
    """Check 6."""
    logits = random(2, 4, 6, 6).requires_grad_()
    mask = torch.randint(0, 4, (2, 6, 6), generator=torch.Generator().manual_seed(0))
    mask[:, 0] = 255
    filtered = filtered_targets(logits, mask)
    guess = logits.argmax(1)
    for place in torch.cartesian_prod(torch.arange(2), torch.arange(6), torch.arange(6)).tolist():
        b, y, x = place
        assert filtered[b, y, x] == (mask[b, y, x] if guess[b, y, x] == mask[b, y, x] else 255)
    assert not filtered.requires_grad and torch.equal(mask[:, 0], torch.full((2, 6), 255))
    none = filtered_targets(logits, (guess + 1) % 4)
    assert (none == 255).all()
    loss = cross_entropy(logits, none)
    loss.backward()
    assert loss == 0 and not logits.grad.any()
    assert (filtered_targets(logits, mask, ignore_index=9)[:, 0] == 9).all()


def test_divergence_is_twice_jensen_shannon():
    p, q = random(6, 5).softmax(1), random(6, 5, seed=1).softmax(1)
    middle = (p + q) / 2
    expected = F.kl_div(middle.log(), p, reduction="none").sum(1) + F.kl_div(
        middle.log(), q, reduction="none"
    ).sum(1)
    torch.testing.assert_close(
        symmetric_divergence(p.log(), q.log(), 1), expected, rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        symmetric_divergence(p.log(), q.log(), 1), symmetric_divergence(q.log(), p.log(), 1)
    )
    torch.testing.assert_close(
        symmetric_divergence(p.log(), p.log(), 1), torch.zeros(6), rtol=0, atol=1e-6
    )
    # disjoint distributions reach 2 log 2, although half of each underflows
    logits = torch.tensor([[300.0, -300.0]]).requires_grad_()
    value = symmetric_divergence(logits.log_softmax(1), logits.flip(1).log_softmax(1), 1)
    value.sum().backward()
    torch.testing.assert_close(value.detach(), torch.tensor([2 * math.log(2)]))
    assert logits.grad.isfinite().all()


def literal_consistency(maps: torch.Tensor, salient: torch.Tensor, rest: torch.Tensor) -> float:
    """Dossier 4.2 with loops, in double precision."""
    values = []
    for b in range(maps.shape[1]):
        at = [m for m in range(len(maps)) if rest[m, b]]
        c = {}
        for m in at:
            cosines = [
                F.cosine_similarity(
                    maps[m, b, k].flatten().double(), salient[b, k].flatten().double(), dim=0
                )
                for k in range(maps.shape[2])
            ]
            c[m] = torch.stack(cosines).softmax(0)
        for position, i in enumerate(at):
            for j in at[position + 1 :]:
                total = c[i] + c[j]
                values.append(
                    (c[i] * (2 * c[i] / total).log() + c[j] * (2 * c[j] / total).log()).sum()
                )
    return float(torch.stack(values).mean())


def test_consistency_against_the_formula():
    """Check 7, with two and with three rest modalities in one batch."""
    maps, salient = random(5, 3, 4, 6, 6), random(3, 4, 6, 6, seed=1)
    rest = torch.tensor([[1, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]]).bool()
    value = correlation_consistency(maps, salient, rest)
    assert math.isclose(value, literal_consistency(maps, salient, rest), rel_tol=1e-4)


@pytest.mark.parametrize(
    "form", [correlation_consistency, lambda maps, _, rest: map_consistency(maps, rest)]
)
def test_consistency_vanishes_only_where_the_rest_agrees(form):
    """Check 7: zero for coinciding maps and for fewer than two rest modalities, else positive;
    symmetric; finite.
    """
    maps, salient = random(4, 2, 3, 5, 5), random(2, 3, 5, 5, seed=1)
    rest = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]]).bool()
    value = form(maps, salient, rest)
    assert value > 1e-4
    swapped = [2, 0, 1, 3]
    torch.testing.assert_close(form(maps[swapped], salient, rest[swapped]), value)
    equal = maps[:1].expand(4, -1, -1, -1, -1)
    torch.testing.assert_close(form(equal, salient, rest), torch.zeros(()), rtol=0, atol=1e-6)
    one = torch.tensor([[1, 0], [0, 1], [0, 0], [0, 0]]).bool()
    assert form(maps, salient, one) == 0
    for given in (maps, torch.zeros_like(maps), 1e4 * maps):
        leaf, other = given.clone().requires_grad_(), salient.clone().requires_grad_()
        form(leaf, other, rest).backward()
        assert leaf.grad.isfinite().all() and (other.grad is None or other.grad.isfinite().all())
        assert not leaf.grad[3].any()  # never among the rest


def test_size_of_the_term():
    """Dossier 4.2: cosines that scatter by 0.1 / 0.3 / 0.5 over 25 classes give about 0.005 / 0.04
    / 0.10.
    """
    rest = torch.ones(2, 400, dtype=torch.bool)
    for deviation, expected in ((0.1, 0.005), (0.3, 0.04), (0.5, 0.10)):
        cosines = deviation * random(2, 400, 25)
        value = float(pair_consistency(cosines.log_softmax(2), rest))
        assert math.isclose(value, expected, rel_tol=0.2)


def test_correlations_are_per_class_over_pixels():
    maps, salient = random(2, 3, 4, 6, 5), random(3, 4, 6, 5, seed=1)
    found = channel_correlations(maps, salient)
    torch.testing.assert_close(found.exp().sum(2), torch.ones(2, 3))
    scaled = channel_correlations(maps * torch.tensor([2.0, 0.5, 7.0, 1.0])[:, None, None], salient)
    torch.testing.assert_close(scaled, found)  # a cosine per class knows no scale


def test_rest_to_salient_counts_lone_rest_modalities_only():
    maps, salient = (
        random(4, 3, 3, 5, 5).requires_grad_(),
        random(3, 3, 5, 5, seed=1).requires_grad_(),
    )
    rest = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]).bool()
    value = rest_to_salient(maps, salient, rest)
    p, q = maps[0, 0].softmax(0), salient[0].softmax(0)
    expected = (p * (2 * p / (p + q)).log() + q * (2 * q / (p + q)).log()).sum(0).mean()
    torch.testing.assert_close(value, expected)
    value.backward()
    assert salient.grad is None and maps.grad[0, 0].any() and not maps.grad[:, 1:].any()
