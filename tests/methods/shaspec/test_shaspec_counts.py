"""Parameters, shapes and multiply-accumulates of ShaSpec: the figures of dossier II.2 and II.4,
checks 11 and 12.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.shaspec.network import ShaSpecNetwork

TWO = {"irrg": 3, "dsm": 1}
GRAY = {"a": 1, "b": 1, "c": 1, "d": 1}


def network(modalities=TWO, classes: int = 5, **options) -> ShaSpecNetwork:
    with torch.device("meta"):
        return ShaSpecNetwork(modalities, classes, **options).eval()


def images() -> dict[str, torch.Tensor]:
    return {m: torch.zeros(1, c, 512, 512, device="meta") for m, c in TWO.items()}


def test_parameters_as_released():
    counts = count_parameters(network(pooling_norm=True))
    assert counts["total"] == 56_836_386
    assert counts["shared"] == 17_568_064
    assert counts["specific"] == 17_568_064 + 17_561_792
    assert (counts["fusion"], counts["classifier"], counts["decoder"]) == (
        1_179_648,
        514,
        2_958_304,
    )


@pytest.mark.parametrize(
    ("count", "classes", "expected"),
    [(2, 5, 56_823_842), (3, 5, 74_994_147), (4, 5, 93_164_452), (4, 3, 93_164_388)],
)
def test_parameters_as_released_by_modalities(count, classes, expected):
    gray = dict(list(GRAY.items())[:count])
    assert count_parameters(network(gray, classes, pooling_norm=True))["total"] == expected


@pytest.mark.parametrize(
    "modalities", [TWO, {"a": 3, "b": 1, "c": 2}, {"a": 3, "b": 1, "c": 2, "d": 5}]
)
@pytest.mark.parametrize("classes", [5, 7])
def test_parameters_of_the_default(modalities, classes):
    """The closed form, less what the dead norm has more than a bias: 512 - 256 in each encoder."""
    count = len(modalities)
    encoders = [
        17_558_656 + 3_136 * c - 256 for c in (max(modalities.values()), *modalities.values())
    ]
    rest = 1_179_648 + 257 * count + 608_256 * count + 1_741_632 + 32 * classes
    assert count_parameters(network(modalities, classes))["total"] == sum(encoders) + rest
    if modalities == TWO and classes == 5:
        assert sum(encoders) + rest == 56_836_386 - 3 * 256


def test_parameters_of_the_released_network_in_three_dimensions():
    """Kernels k x k become k x k x k; everything else has the same shape in the 3-D network.

    This is a closed form on the 2-D module: no 3-D network is built.
    """

    def cubic(module: nn.Module) -> int:
        kernels = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
        return count_parameters(module)["total"] + sum(
            m.weight.numel() * (m.kernel_size[0] - 1) for m in kernels
        )

    whole = network(GRAY, 3, pooling_norm=True)
    assert [cubic(encoder) for encoder in (whole.shared, *whole.specific)] == [35_127_872] * 5
    assert cubic(whole.shared.stem) + cubic(whole.shared.stages) == 29_029_440
    assert (cubic(whole.shared.reduction), cubic(whole.shared.aspp)) == (328_192, 5_770_240)
    parts = (whole.fusion, whole.classifier, whole.decoder)
    assert [cubic(part) for part in parts] == [3_538_944, 1_028, 8_528_800]
    assert cubic(whole) == 187_708_132


def test_parameters_of_light():
    """Part I's closed form of encoder and decoder without auxiliary heads, ShaSpec's fusion and
    classifier.
    """
    counts = count_parameters(network(backbone="pyramid"))
    assert counts["total"] == 2_234_479
    assert counts["shared"] == 491_496 + 72 * 3 and counts["specific"] == 2 * 491_496 + 72 * 4
    assert (counts["fusion"], counts["classifier"]) == (256 * 128 * 9, 258)
    assert counts["decoder"] == 201_640 + 9 * 5 + 21_824 * 12 + 744


@pytest.mark.parametrize("count", [3, 4])
def test_parameters_of_light_by_modalities(count):
    gray = dict(list(GRAY.items())[:count])
    decoder = 201_640 + 9 * 5 + 21_824 * (count + 10) + 744
    expected = (count + 1) * (491_496 + 72) + 294_912 + 129 * count + decoder
    assert count_parameters(network(gray, backbone="pyramid"))["total"] == expected


def test_shapes():
    whole, given = network(), images()
    features = whole.shared(given["irrg"])
    assert [tuple(m.shape[1:]) for m in features.maps] == [
        (64, 256, 256),
        (256, 128, 128),
        (512, 64, 64),
        (1024, 32, 32),
    ]
    assert whole.shared.reduction[0].in_channels == 1280
    for entry in whole.encode(given).values():
        assert entry.shared.shape == entry.fused.shape == (
            1,
            256,
            16,
            16,
        ) and entry.vector.shape == (1, 256)
    logits, extras = whole.fuse(whole.encode(given))
    assert logits.shape == (1, 5, 256, 256)
    assert [f.shape for f in extras["features"]] == [(1, 256, 16, 16)] * 2


def test_cost():
    """86 G for two modalities at 512 x 512, 19.7 for an encoder with three channels."""
    whole, given = network(), images()
    assert round(count_gmac(lambda: whole.fuse(whole.encode(given)))) == 86
    assert round(count_gmac(lambda: whole.shared(given["irrg"])), 1) == 19.7


def test_cost_of_all_subsets():
    """The decoder alone is repeated; its skips' convolutions are not."""
    whole, given = network(), images()
    encoded = whole.encode(given)
    full = count_gmac(lambda: whole.fuse(whole.encode(given)))
    once = count_gmac(lambda: whole.fuse(encoded))
    sides, widths = (32, 64, 128, 256), (256, 128, 64, 32)
    inputs = (512, *widths[:-1])
    expected = sum(
        a * b * s * s + 18 * b * b * s * s for a, b, s in zip(inputs, widths, sides, strict=True)
    )
    assert once == pytest.approx((expected + 32 * 5 * 256 * 256) / 1e9, abs=1e-9)
    assert (full + 2 * once) / full < 1.13
