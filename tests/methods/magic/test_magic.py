"""MAGIC fulfils the contract at both levels; training branch and options behave as the dossier says
(section 5).
"""

from __future__ import annotations

import pytest
import torch

from methods.magic.module import MAGIC
from tests.support.contract import MethodContract
from tests.support.method_checks import (
    CLASSES,
    FOUR,
    SMALL,
    THREE,
    check_trains_and_stays_exact,
    images,
    subsets,
    training_batch,
)
from usererror import UserError

LEVELS = ("logits", "features")


class TestMAGIC(MethodContract):
    method = MAGIC
    options = SMALL
    # an equal shift of all classes: softmax does not see it
    silent = ("outer.bias",)


class TestMAGICFeatures(MethodContract):
    method = MAGIC
    options = {**SMALL, "level": "features"}


make = TestMAGIC.make


def frozen(modalities: dict[str, int] = THREE, **options) -> MAGIC:
    """In eval mode after one training pass: norms hold statistics of the data, and nothing is
    dropped.
    """
    module = make(modalities, **options)
    with torch.no_grad():
        module.train().training_losses(training_batch(modalities))
    return module.eval()


@pytest.mark.parametrize("level", LEVELS)
def test_fused_map_is_the_mean_of_the_cached_votes(level):
    """Check 1: f_se of every subset from the cache, by hand and as evaluated directly."""
    module, given = frozen(FOUR, level=level), images(FOUR)
    network = module.network
    with torch.inference_mode():
        kept, cache = network._encode(given), network.encode(given)
        for subset in subsets(list(FOUR)):
            by_hand = [
                sum(kept[m].votes[s] for m in subset) / len(subset) for s in range(len(network.mam))
            ]
            direct = network.fuse(network._encode({m: given[m] for m in subset}))
            for one, other in zip(by_hand, direct[1]["fused"], strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
            # features: the cache holds the head's affine part instead of the votes, and the head
            # has its say
            logits = by_hand[0] if level == "logits" else network.head(by_hand)
            cached = network.fuse({m: cache[m] for m in subset})[0]
            torch.testing.assert_close(cached, logits, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(cached, direct[0], rtol=1e-5, atol=1e-5)


def test_the_cache_is_one_map_per_modality():
    """Four subsets of four modalities read nothing but a K-channel map, or an E-channel one where
    the head follows.
    """
    for level, width in (("logits", CLASSES), ("features", 16)):
        entry = frozen(level=level).encode(images(THREE, size=(64, 96)))["dsm"]
        tensors = [*entry.maps, *entry.votes, *([] if entry.linear is None else [entry.linear])]
        assert [tuple(t.shape) for t in tensors] == [(2, width, 16, 24)]


@pytest.mark.parametrize("level", LEVELS)
def test_zero_gate_and_identity_give_one_and_a_half_times_the_mean(level):
    """Check 3."""
    module, given = frozen(level=level), images(THREE)
    with torch.inference_mode():
        for scale in module.network.mam:
            scale.gate.pointwise.weight.zero_()
            scale.gate.pointwise.bias.zero_()
        plain = module.network._inputs(given)
        for m in THREE:
            for i, scale in enumerate(module.network.mam):
                scale.phi[m] = torch.nn.Identity()
                expected = 1.5 * sum(maps[i] for maps in plain.values()) / 3
                assert expected.abs().max() > 0
        fused = module.network.fuse(module.network._encode(given))[1]["fused"]
        for i, one in enumerate(fused):
            torch.testing.assert_close(
                one, 1.5 * sum(maps[i] for maps in plain.values()) / 3, rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("level", LEVELS)
def test_selection_does_not_run_in_eval_mode(level):
    """Check 8."""
    module, given = frozen(level=level), images(THREE)
    calls = []
    for scale in module.network.mam:
        for phi in scale.salient.values():
            phi.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        before = module(given)
        for scale in module.network.mam:
            for parameter in scale.salient.parameters():
                parameter.normal_()
        assert torch.equal(module(given), before) and not calls
    module.train().training_losses(training_batch(THREE))
    assert len(calls) == 2 * len(module.network.mam)


@pytest.mark.parametrize(
    "options",
    [
        {"phi_init": "pytorch", "phi_hidden": 1, "mam_pools": (7, 11, 21)},
        {"phi_init": "pytorch", "level": "features", "mam_kernel": 3, "head_norm": "ln"},
        {"consistency": "maps", "rest_to_sa": True, "head_norm": "ln", "mam_pools": ()},
        {"subsets": "any_subset"},
        {
            "subsets": "one_missing",
            "subsets_per": "batch",
            "level": "features",
            "reduction": [16, 16, 32, 32],
        },
        {"backbone": "resnet50", "head_width": 8, "level": "features"},
    ],
    ids=["a", "b", "c", "d", "e", "resnet50"],
)
def test_options_train_and_stay_exact(options):
    check_trains_and_stays_exact(make(FOUR, **options))


def test_what_cannot_be_configured():
    for options, word in (
        ({"level": "head"}, "level 'head'"),
        ({"phi_init": "zero"}, "phi_init 'zero'"),
        ({"phi_hidden": 1}, "phi_hidden"),
        ({"mam_pools": (3, 4)}, "odd"),
        ({"consistency": "cosine"}, "consistency 'cosine'"),
        ({"level": "features", "rest_to_sa": True}, "level: logits"),
        ({"backbone": "resnet5"}, "no backbone resnet5"),
    ):
        with pytest.raises(UserError, match=word):
            make(**options)
