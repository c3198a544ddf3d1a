"""Parameters and multiply-accumulates of mmFormer against the dossier's figures (I.2, I.5, check
1).
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.mmformer.network import MMFormerNetwork

ISPRS = {"irrg": 3, "ndsm": 1}
FOUR = ("a", "b", "c", "d")


def network(modalities=ISPRS, classes: int = 5, **options) -> MMFormerNetwork:
    with torch.device("meta"):
        return MMFormerNetwork(modalities, classes, **options).eval()


def closed_form(
    channels: list[int], classes: int, width: int, mlp: int, positions: int = 1024
) -> int:
    count = len(channels)
    block = 4 * width**2 + 2 * width * mlp + 6 * width + mlp
    total = (
        sum(491_496 + 72 * c for c in channels)
        + count * (129 * width + positions * width + block)
        + block
    )
    total += 128 * count * (count * width + 1)
    total += 201_640 + 253 * classes + 21_824 * (count + 10) + 744
    return total + 201_640 + 9 * classes


def test_parameters_by_part():
    assert count_parameters(network()) == {
        "total": 18_843_718,
        "encoders": 983_280,
        "tokenisers": 132_096,
        "tables": 1_048_576,
        "intra": 10_500_096,
        "inter": 5_250_048,
        "reduction": 262_400,
        "decoder": 465_537,
        "unimodal_decoder": 201_685,
    }


def test_parameters_of_the_light_variant():
    """The trunk of GEMMNet: its parts have the counts of that dossier's table."""
    counts = count_parameters(network(width=256, mlp=512))
    assert counts["total"] == 3_951_174
    assert (counts["tokenisers"], counts["intra"], counts["tables"]) == (
        2 * 33_024,
        2 * 526_336,
        2 * 262_144,
    )
    assert (counts["inter"], counts["reduction"], counts["decoder"]) == (526_336, 131_328, 465_537)


def test_the_options_do_not_change_the_count():
    for options in ({"norm": "layer"}, {"layout": "sequential"}):
        assert count_parameters(network(**options))["total"] == 18_843_718


@pytest.mark.parametrize(
    ("count", "classes", "expected"),
    [(2, 5, 18_843_574), (3, 5, 25_525_158), (4, 5, 32_337_814), (4, 4, 32_337_552)],
)
def test_parameters_of_more_modalities(count, classes, expected):
    assert count_parameters(network(dict.fromkeys(FOUR[:count], 1), classes))["total"] == expected
    assert closed_form([1] * count, classes, 512, 4096) == expected


@pytest.mark.parametrize(("count", "expected"), [(2, 3_951_030), (3, 5_449_894), (4, 7_014_294)])
def test_parameters_of_more_modalities_light(count, expected):
    """Figures of the gemmnet dossier, section 9."""
    assert (
        count_parameters(network(dict.fromkeys(FOUR[:count], 1), 5, width=256, mlp=512))["total"]
        == expected
    )


@pytest.mark.parametrize("channels", [[3, 1], [3, 1, 2], [3, 1, 2, 5], [4]])
@pytest.mark.parametrize(("width", "mlp", "grid"), [(512, 4096, 32), (256, 512, 8)])
def test_closed_form(channels, width, mlp, grid):
    """The second size is that of the small scale: windows of 128 px, 64 positions."""
    modalities = dict(zip(FOUR, channels, strict=False))
    built = network(modalities, 6, width=width, mlp=mlp, grid=grid)
    assert count_parameters(built)["total"] == closed_form(channels, 6, width, mlp, grid * grid)


def test_unused_convolutions_of_the_released_code():
    """One 1x1 convolution per modality back from the tokens, never called, not built here."""
    unused = 2 * sum(p.numel() for p in nn.Conv2d(512, 128, 1).parameters())
    assert count_parameters(network())["total"] + unused == 18_975_046


def test_parity_with_the_three_dimensional_release():
    """Our network of four one-channel modalities and four classes, every k x k kernel counted as k
    x k x k.

    With its tables of 8^3 positions and the unused convolutions it is the 36,654,416 of the
    release.
    """
    built = network(dict.fromkeys(FOUR, 1), 4)

    def solid(part: nn.Module) -> int:
        extra = sum(
            (c.kernel_size[0] - 1) * c.weight.numel()
            for c in part.modules()
            if isinstance(c, nn.Conv2d)
        )
        return count_parameters(part)["total"] + extra

    assert [solid(encoder) for encoder in built.encoders.values()] == [1_473_216] * 4
    assert solid(built.decoder) == 1_293_444 and solid(built.unimodal_decoder) == 593_356
    assert solid(built.reduction) == 1_049_088
    tables = sum(table.numel() for table in built.tables.values())
    assert solid(built) - tables + 4 * 512 * 512 + 4 * 65_664 == 36_654_416


def test_cost_at_512():
    """35.5 GMAC for two modalities: 15.0 in the joint transformer, 6.4 in each modality's own.

    The dossier's "about 6.4" names the tokeniser too; its 128 x 512 x 1024 make 6.5 of it.
    """
    built = network()
    with torch.device("meta"):
        images = {m: torch.zeros(1, c, 512, 512) for m, c in ISPRS.items()}
        features, tokens = torch.zeros(1, 128, 32, 32), torch.zeros(1, 1024, 512)
    assert round(count_gmac(lambda: built.fuse(built.encode(images))), 1) == 35.5
    joint = torch.cat([tokens, tokens], 1)
    assert round(count_gmac(lambda: built.inter(joint, joint)), 1) == 15.0
    own = count_gmac(lambda: built.intra["irrg"](tokens, tokens))
    assert round(own, 1) == 6.4
    tokeniser = count_gmac(lambda: built.tokenisers["irrg"](features))
    assert tokeniser == pytest.approx(128 * 512 * 1024 / 1e9) and round(own + tokeniser, 1) == 6.5


def test_cost_of_a_subset_after_encoding():
    """Encoders and own transformers run once per modality; the joint transformer and the decoder
    once per subset.
    """
    built = network()
    with torch.device("meta"):
        images = {m: torch.zeros(1, c, 512, 512) for m, c in ISPRS.items()}
    encode = count_gmac(lambda: built.encode(images))
    encoded = built.encode(images)
    subsets = [
        count_gmac(lambda names=names: built.fuse({m: encoded[m] for m in names}))
        for names in (["irrg"], ["ndsm"], ISPRS)
    ]
    assert subsets[0] == subsets[1] == subsets[2]
    assert encode + subsets[2] == pytest.approx(
        count_gmac(lambda: built.fuse(built.encode(images)))
    )
