"""Parameters to the last digit and multiply-accumulates of the networks of one image."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.support.single_stream import costs, parameters

TWO, THREE = {"rgb": 3, "dsm": 1}, {"rgb": 3, "dsm": 1, "nir": 1}


class Expected(NamedTuple):
    """Dossier of the comparison networks, 0.1 and the section of the network; K = 6."""

    trained: int  # of the network as published
    used: int  # of those, and what is frozen, for the logits
    gmac: float  # at 256 px
    two: int  # trained on the channels of two sensors
    three: int
    added: float  # GMAC by a fourth channel
    form: tuple[int, int, int]  # parameters: constant, by channel, by class


EXPECTED = {
    # MoBaNet's Table III prints 11.72, 13.67 and, without the frozen first stage, 118.39 M
    "unetformer": Expected(
        11_724_894, 11_687_518, 2.927, 11_728_030, 11_731_166, 0.051, (11_714_718, 3136, 128)
    ),
    "abcnet": Expected(
        13_666_563, 13_394_051, 3.902, 13_672_835, 13_679_107, 0.103, (13_424_259, 6272, 37_248)
    ),
    "dc_swin": Expected(
        118_392_690,
        118_929_210,
        35.296,
        118_931_258,
        118_933_306,
        0.008,
        (118_922_298, 2048, 128),
    ),
    "maresunet": Expected(
        16_168_350, 16_168_350, 4.760, 16_171_486, 16_174_622, 0.051, (16_157_208, 3136, 289)
    ),
    "unet_2015": Expected(
        31_037_958, 31_037_958, 48.188, 31_038_534, 31_039_110, 0.038, (31_035_840, 576, 65)
    ),
    "segnet": Expected(
        29_446_470, 29_446_470, 40.202, 29_447_046, 29_447_622, 0.038, (29_441_280, 576, 577)
    ),
    "pspnet": Expected(
        67_938_380, 65_577_030, 63.695, 67_941_516, 67_944_652, 0.051, (67_924_352, 3136, 770)
    ),
}
PRINTED = {"unetformer": 11.72, "abcnet": 13.67, "dc_swin": 118.39}


@pytest.mark.parametrize("name", EXPECTED)
def test_costs(name):
    expected = EXPECTED[name]
    gmac = pytest.approx(expected.gmac, abs=1e-3)
    published = costs(f"{name}_optical", TWO)
    assert published == (expected.trained, expected.used, gmac)
    whole = costs(name, TWO)
    assert whole[0] == expected.two
    assert whole[2] - published[2] == pytest.approx(expected.added, abs=1e-3)
    if name in PRINTED:
        assert round(expected.trained / 1e6, 2) == PRINTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_parameters_of_other_channels_and_classes(name):
    expected = EXPECTED[name]
    constant, by_channel, by_class = expected.form
    assert parameters(name, THREE) == expected.three
    for channels, classes in (({"a": 3}, 5), ({"a": 2, "b": 5, "c": 1, "d": 3}, 25)):
        total = constant + by_channel * sum(channels.values()) + by_class * classes
        assert parameters(name, channels, classes) == total
