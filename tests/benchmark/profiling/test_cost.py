"""Costs against products by hand, closed forms of the dossiers, and a direct count of what
evaluation does.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.experiment.models import build_model
from benchmark.experiment.request import Request
from benchmark.profiling.complexity import (
    count_gmac,
    evaluation_gmac,
    frozen_buffers,
    gmac_by_module,
    parameters_in_graph,
)
from benchmark.profiling.cost import (
    count_cost,
    decode_subsets,
    measure_time,
    random_images,
    resolve_device,
)
from benchmark.profiling.profile import format_table, profile_method
from methods.base import AnyModalitySegmenter
from tests.support.mobanet_tiny import make as tiny_mobanet
from usererror import UserError

SIDE, CLASSES = 64, 5
THREE = {"rgb": 3, "dsm": 1, "nir": 1}
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(THREE, size)]


class Plain(AnyModalitySegmenter):
    """A 3x3 convolution per modality, the mean, a 1x1 classifier, and a layer that only a loss
    reads.
    """

    def __init__(self, modalities: dict[str, int], num_classes: int, **options: Any) -> None:
        super().__init__(modalities, num_classes, **options)
        self.stems = nn.ModuleDict(
            {name: nn.Conv2d(c, 8, 3, padding=1) for name, c in modalities.items()}
        )
        self.classifier = nn.Conv2d(8, num_classes, 1)
        self.for_the_loss = nn.Linear(7, 3)
        self.register_buffer("unchanged", torch.ones(8, 1, 1), persistent=False)
        self.register_buffer("unread", torch.ones(11), persistent=False)

    def encode(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.stems[name](image) for name, image in given.items()}

    def decode(self, encoded: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        return self.classifier(F.relu(torch.stack(list(encoded.values())).mean(0)) * self.unchanged)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_network_by_hand(device: str) -> None:
    with torch.device(device):
        model = Plain(THREE, CLASSES).eval()
    model.for_the_loss.requires_grad_(False)
    found = count_cost(model, SIDE)
    stems, classifier = (3 + 1 + 1) * 72 + 3 * 8, 8 * CLASSES + CLASSES
    assert (found.trainable, found.total) == (
        stems + classifier,
        stems + classifier + 7 * 3 + 3 + 8 + 11,
    )
    assert found.inference == stems + classifier + 8, (
        "the buffer that is read, not the one that is not"
    )
    assert not any(
        weight.requires_grad
        for weight in (*model.for_the_loss.parameters(), *frozen_buffers(model))
    )
    pixels = SIDE * SIDE
    for subset in SUBSETS:
        by_hand = (sum(72 * THREE[name] for name in subset) + 8 * CLASSES) * pixels
        assert found.subset_gmac(subset) == pytest.approx(by_hand / 1e9, abs=1e-12)
    assert found.all_subsets_gmac == pytest.approx(
        (5 * 72 + 7 * 8 * CLASSES) * pixels / 1e9, abs=1e-12
    )


def test_subsets_that_a_network_does_not_see_cost_nothing() -> None:
    class Optical(Plain):
        def sees(self, modalities: Collection[str]) -> bool:
            return "rgb" in modalities

        def decode(self, encoded: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
            assert "rgb" in encoded, "evaluation never asks for the others"
            return super().decode(encoded, size)

    with torch.device("meta"):
        whole, optical = (kind(THREE, CLASSES).eval() for kind in (Plain, Optical))
    every, seen = count_cost(whole, SIDE), count_cost(optical, SIDE)
    assert list(seen.decode) == [subset for subset in SUBSETS if "rgb" in subset]
    for subset in seen.decode:
        assert seen.subset_gmac(subset) == every.subset_gmac(subset)
    unseen = sum(every.decode[subset] for subset in SUBSETS if "rgb" not in subset)
    assert unseen and seen.all_subsets_gmac == pytest.approx(every.all_subsets_gmac - unseen)
    measure_time(Optical(THREE, CLASSES).eval(), SIDE, "cpu", 1)


def test_subsets_that_a_network_does_not_see_are_dashes() -> None:
    row = profile_method(Request("segnet_optical", "miniature")).cost_row()
    shown = format_table(pd.DataFrame([row])).iloc[0]
    assert set(shown[shown == "-"].index) == {"GMAC D", "GMAC N", "GMAC D+N"}
    # the four others share the first convolution
    assert 3.9 * row["GMAC R"] < row["GMAC all"] < 4 * row["GMAC R"]


@pytest.mark.parametrize("name", ["control", "sgma"])
def test_all_subsets_are_what_evaluation_runs(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, THREE, CLASSES, backbone="pvt_v2_b0").eval()
    found, given = count_cost(model, SIDE), random_images(THREE, SIDE, "meta")
    assert list(found.decode) == SUBSETS
    assert found.all_subsets_gmac == pytest.approx(
        evaluation_gmac(lambda: decode_subsets(model, given, SUBSETS)), abs=1e-9
    )
    full = SUBSETS[-1]
    assert found.subset_gmac(full) == pytest.approx(
        evaluation_gmac(lambda: decode_subsets(model, given, [full])), abs=1e-9
    )
    assert (
        found.subset_gmac(full)
        < found.all_subsets_gmac
        < sum(found.subset_gmac(subset) for subset in SUBSETS)
    )
    # with gradients the fold of the head, E x E x sum of C, is made anew in each decode
    folds = 256 * 256 * sum((32, 64, 160, 256)) / 1e9
    assert count_gmac(lambda: decode_subsets(model, given, [full])) == pytest.approx(
        found.subset_gmac(full) + folds, abs=1e-9
    )


def test_attention_counts_as_the_fused_operator_does() -> None:
    with torch.device("meta"):
        query, key = torch.zeros(2, 3, 50, 16), torch.zeros(2, 3, 40, 16)
    call = lambda: F.scaled_dot_product_attention(query, key, key)  # noqa: E731
    assert evaluation_gmac(call) == count_gmac(call) == 2 * 2 * 3 * 50 * 40 * 16 / 1e9


def test_what_only_training_needs_is_not_used() -> None:
    """Discriminators, scale heads and unimodal decoders of GEMMNet, auxiliary heads of MoBaNet, by
    their names.
    """
    with torch.device("meta"):
        gemmnet = build_model(
            "gemmnet_cgan", {"rgb": 3, "dsm": 1}, CLASSES, as_released=True
        ).eval()
    found = count_cost(gemmnet, SIDE)
    # GEMMNet dossier, sections 7 and 9: the released totals with and without discriminators
    assert (found.total, found.trainable) == (14_284_236, 14_284_236)
    discriminators = 14_284_236 - 8_749_130
    unimodal = 201_640 + 9 * CLASSES
    scales = sum((width + 1) * CLASSES for width in (128, 64, 32, 16))
    assert found.inference == found.total - discriminators - unimodal - scales

    mobanet = tiny_mobanet().eval()
    backbone = sum(value.numel() for value in mobanet.network.backbone.buffers())
    heads = sum(weight.numel() for weight in mobanet.network.heads.parameters())
    trained = sum(weight.numel() for weight in mobanet.parameters())
    found = count_cost(mobanet, SIDE)
    assert (found.total, found.trainable, found.inference) == (
        trained + backbone,
        trained,
        trained + backbone - heads,
    )


def test_a_blank_sensor_is_computed_once() -> None:
    """Streams of MoBaNet without prompts: a subset costs its own streams, whatever is blank."""
    model = tiny_mobanet(cpia="none", dgfm=False, mcrm=False).eval()
    found, given = count_cost(model, SIDE), random_images(model.modalities, SIDE, "cpu")
    rgb, dsm = ((name,) for name in given)
    # decoding is averaging and the head, for one sensor and a blank as for two
    assert found.decode[rgb] == found.decode[dsm] == found.decode[*rgb, *dsm]
    remade = count_gmac(lambda: decode_subsets(model, given, [rgb]))
    assert remade - found.decode[rgb] == pytest.approx(
        found.encode["rgb"] + 2 * found.encode["dsm"], abs=1e-9
    )


def test_shares_of_parts_are_what_they_do() -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 6, bias=False)

        def once(self, x: Tensor) -> Tensor:
            return self.layer(x)

        def forward(self, x: Tensor) -> Tensor:
            return self.once(x) + self.once(x)

    part, other = Part(), nn.Linear(4, 2)
    given = torch.ones(3, 4)
    with torch.no_grad(), gmac_by_module({"part": part}) as found:
        part(given), part.once(given), other(given)
    assert found == {"part": pytest.approx(3 * 3 * 4 * 6 / 1e9)}
    assert "once" not in vars(part) and "forward" not in vars(part)
    assert [weight.shape for weight in parameters_in_graph(part, lambda: [part(given)])] == [(6, 4)]


def test_timing_names_where_it_was_taken() -> None:
    timing = measure_time(Plain(THREE, CLASSES).eval(), SIDE, "cpu", 1)
    assert timing.full_ms > 0 and timing.every_ms > 0 and timing.memory is None
    assert timing.device.startswith("CPU") and timing.threads == torch.get_num_threads()
    assert timing.torch == torch.__version__


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="DEVICE 'tpu' is not here; valid are: cpu"):
        resolve_device("tpu")
