"""Parameters and multiply-accumulates of GEMMNet and its counterparts (dossier sections 6, 7, 9 and
10).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import nn

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.gemmnet.generators import Discriminator, Generator
from methods.gemmnet.module import GEMMNet

TWO = {"rgir": 3, "ndsm": 1}
PLAIN: dict[str, Any] = {"hyfex": False, "hyfma": False, "coloss": False}
CLASSES = 5


def make(modalities: dict[str, int] = TWO, **options: Any) -> GEMMNet:
    with torch.device("meta"):
        return GEMMNet(modalities, CLASSES, **options).eval()


def count(module: nn.Module) -> int:
    return count_parameters(module)["total"]


# ---- closed forms of dossier section 7
# -----------------------------------------------------------------------------


def block(width: int, hidden: int) -> int:
    return 4 * width**2 + 2 * width * hidden + 6 * width + hidden


def encoder(channels: int) -> int:
    return 491_496 + 72 * channels


def generator(c_in: int, c_out: int, transformer: bool = True) -> int:
    return (2_395_904 if transformer else 1_541_632) + 512 * c_in + 1_025 * c_out


def discriminator(channels: int) -> int:
    """`channels` are those of condition and picture together."""
    return 2_763_457 + 1_024 * channels


def fused_decoder(count: int, heads: int) -> int:
    """`heads`: parameters of all heads, 9 K for the main one alone, 253 K with the released
    auxiliary ones.
    """
    return 201_640 + heads + 21_824 * (count + 10) + 744


def closed_form(channels: list[int], plain: bool, adversarial: bool, released: bool) -> int:
    """The whole network for M modalities."""
    total_channels, number = sum(channels), len(channels)
    planes = number - 1 if number > 2 else 0
    heads = 9 * CLASSES
    if not plain:
        # heads on z, d_4, d_3, d_2 as released; on u_1 to u_4 as the paper says
        widths = (128, 64, 32, 16) if released else (8, 16, 32, 64)
        heads += sum((width + 1) * CLASSES for width in widths)
    total = sum(encoder(c) for c in channels) + fused_decoder(number, heads)
    for c in channels:
        c_in = total_channels - c + planes
        total += generator(c_in, c, not plain)
        total += discriminator((c if released else c_in) + c) if adversarial else 0
    if plain:
        return total
    trunk = number * (129 * 256 + 1024 * 256 + block(256, 512)) + block(256, 512)
    return total + trunk + 128 * number * (256 * number + 1) + 201_640 + 9 * CLASSES


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({}, 14_284_236),
        ({"rec": "l2"}, 8_749_130),
        (PLAIN, 10_072_115),
        ({**PLAIN, "rec": "l2"}, 4_537_009),
    ],
    ids=["gemmnet_cgan", "gemmnet_ae", "cgan", "ae"],
)
def test_totals_of_the_four_methods(options, total):
    """Checks 1 and 12. Our scale heads sit on thinner maps; the source as condition changes no
    total of two.
    """
    assert count(make(as_released=True, **options)) == total
    ours = (
        total
        if options.get("coloss") is False
        else total - 5 * (128 + 64 + 32 + 16 - 8 - 16 - 32 - 64)
    )
    assert count(make(**options)) == ours


@pytest.mark.parametrize("released", [True, False])
@pytest.mark.parametrize(
    "channels", [[3, 1], [3, 1, 1], [3, 1, 1, 3]], ids=["two", "three", "four"]
)
def test_closed_forms(channels, released):
    modalities = {f"m{i}": c for i, c in enumerate(channels)}
    for plain in (False, True):
        for adversarial in (False, True):
            options = {
                **(PLAIN if plain else {}),
                "rec": "cgan" if adversarial else "l2",
                "as_released": released,
            }
            assert count(make(modalities, **options)) == closed_form(
                channels, plain, adversarial, released
            )


@pytest.mark.parametrize(
    ("channels", "total"),
    [([3, 1], 14_284_236), ([3, 1, 1], 20_948_606), ([3, 1, 1, 3], 27_688_898)],
)
def test_dossier_totals_for_more_modalities(channels, total):
    """Section 9 gives them without the availability planes: 512 weights per plane in each
    generator.
    """
    number = len(channels)
    planes = number - 1 if number > 2 else 0
    found = count(make({f"m{i}": c for i, c in enumerate(channels)}, as_released=True))
    assert found == total + 512 * planes * number


def test_our_totals_for_more_modalities():
    """The dossier's totals for the release, in our terms: planes in generators and conditions,
    thinner scale heads.
    """
    for channels, released in (([3, 1, 1], 20_948_606), ([3, 1, 1, 3], 27_688_898)):
        number, total = len(channels), sum(channels)
        planes, heads = number - 1, 5 * (128 + 64 + 32 + 16 - 8 - 16 - 32 - 64)
        conditions = sum((total - c + planes) - c for c in channels)
        expected = released + 512 * planes * number + 1_024 * conditions - heads
        assert count(make({f"m{i}": c for i, c in enumerate(channels)})) == expected


@pytest.mark.parametrize(("number", "trunk"), [(2, 3_951_030), (3, 5_449_894), (4, 7_014_294)])
def test_trunk_of_single_channel_modalities(number, trunk):
    """Section 9."""
    parts = count_parameters(make({f"m{i}": 1 for i in range(number)}, as_released=True).network)
    assert parts["total"] - parts["generators"] - parts["discriminators"] == trunk


def test_parameters_by_part():
    """Check 1, the table of section 7."""
    network = make(as_released=True).network
    parts = count_parameters(network)
    single = {m: (count(network.generators[m]), count(network.discriminators[m])) for m in TWO}
    assert single == {"rgir": (2_399_491, 2_769_601), "ndsm": (2_398_465, 2_765_505)}
    assert [count(network.encoders[m]) for m in TWO] == [491_712, 491_568]
    assert [count(network.tokenisers[m]) for m in TWO] == [33_024] * 2
    assert [count(network.blocks[m]) for m in TWO] == [526_336] * 2
    assert [network.tables[m].numel() for m in TWO] == [262_144] * 2
    assert (parts["inter"], parts["reduction"]) == (526_336, 131_328)
    assert (parts["decoder"], parts["unimodal"]) == (465_537, 201_685)
    painting = parts["generators"] + parts["discriminators"]
    assert parts["total"] - painting - parts["unimodal"] == 3_749_489
    assert sum(b.numel() for b in network.buffers()) == 5_264
    # stage by stage, section 7's last lines
    layers = network.generators["rgir"]
    assert [count(layers.stem), *(count(down[1]) for down in layers.downs)] == [
        544,
        32_832,
        131_200,
        524_544,
    ]
    assert [count(down) for down in layers.downs] == [32_960, 131_456, 524_544]
    assert [count(up) for up in layers.ups] == [524_672, 262_336, 65_632]
    assert (count(layers.last), count(layers.bottom)) == (3 * 1_025, 65_792 + 526_336 + 262_144)


def test_counterparts_have_none_of_the_three_parts():
    """Check 12."""
    for rec in ("cgan", "l2"):
        network = make(rec=rec, **PLAIN).network
        parts = count_parameters(network)
        assert not any(
            parts.get(name) for name in ("tokenisers", "tables", "blocks", "scale_heads")
        )
        assert network.inter is None and network.reduction is None and network.unimodal is None
        assert not [
            n for n, _ in network.named_parameters() if "table" in n or "bottom" in n or "qkv" in n
        ]
        assert not len(network.decoder.heads)
        assert bool(parts["discriminators"]) == (rec == "cgan")


def test_shapes_at_512():
    """Check 2."""
    network = make().network
    with torch.no_grad():
        entries = network.encode(
            {m: torch.zeros(1, c, 512, 512, device="meta") for m, c in TWO.items()}
        )
        assert [tuple(x.shape[1:]) for x in entries["rgir"].maps] == [
            (8, 512, 512),
            (16, 256, 256),
            (32, 128, 128),
            (64, 64, 64),
            (128, 32, 32),
        ]
        assert entries["ndsm"].tokens.shape == (1, 1024, 256)
        for m, other in (("rgir", "ndsm"), ("ndsm", "rgir")):
            painted = network.synthesise({other: entries[other]})
            assert painted[m].shape == (1, TWO[m], 512, 512)
            pair = torch.cat([entries[other].image, painted[m]], 1)
            assert network.discriminators[m](pair).shape == (1, 1, 62, 62)
        logits, coarse, unimodal = network.segment_complete(entries, with_auxiliary=True)
        assert [x.shape[1] for x in (logits, *coarse, *unimodal)] == [5] * 7
        assert [x.shape[-1] for x in coarse] == [512, 256, 128, 64]


def image(channels: int) -> torch.Tensor:
    return torch.zeros(1, channels, 512, 512, device="meta")


def test_cost():
    """Section 7's last line, to its digits."""
    network, plain = make(as_released=True).network, make(**PLAIN).network
    assert round(count_gmac(lambda: network.encoders["rgir"](image(3))), 2) == 1.87
    assert round(count_gmac(lambda: network.encoders["ndsm"](image(1))), 2) == 1.83
    whole = {m: count_gmac(lambda m=m: network.encode_image(m, image(TWO[m]))) for m in TWO}
    bare = {m: count_gmac(lambda m=m: network.encoders[m](image(TWO[m]))) for m in TWO}
    assert [round(whole[m] - bare[m], 2) for m in TWO] == [1.11, 1.11]
    positions = torch.zeros(1, 2048, 256, device="meta")
    assert round(count_gmac(lambda: network.inter(positions, positions)), 2) == 3.22
    entries = {m: network.encode_image(m, image(c)) for m, c in TWO.items()}
    joined = network._joined(entries)
    assert round(count_gmac(lambda: network.decoder(joined, True)), 2) == 3.51
    assert (
        round(count_gmac(lambda: network.segment_complete(entries)) + sum(whole.values()), 1)
        == 12.8
    )
    with torch.device("meta"):
        to_rgir, to_ndsm = Generator(1, 3), Generator(3, 1)
        painting = count_gmac(lambda: to_rgir(image(1))), count_gmac(lambda: to_ndsm(image(3)))
        assert round(sum(painting) / 2, 1) == 5.6
        # first and last layer: 16 x 32 c_in and 16 x 64 c_out at 256 x 256
        assert painting[0] - painting[1] == pytest.approx(16 * (2 * 64 - 2 * 32) * 256**2 / 1e9)
        assert round(count_gmac(lambda: Discriminator(6)(image(6))), 1) == 13.1
        assert round(count_gmac(lambda: Generator(1, 3, transformer=False)(image(1))), 1) == 4.5
    own = {m: plain.encode_image(m, image(c)) for m, c in TWO.items()}
    assert round(count_gmac(lambda: plain.segment_complete(own)) + sum(bare.values()), 1) == 7.2


@pytest.mark.parametrize(("number", "painted"), [(2, 2), (3, 9), (4, 28)])
def test_pictures_painted_for_all_subsets(number, painted, monkeypatch):
    """Section 10: M (2^(M-1) - 1) generator runs and as many further encoder passes; real
    modalities are read once.
    """
    small = {
        "generator_width": 1,
        "discriminator_width": 1,
        "token_width": 8,
        "heads": 1,
        "table_grid": 2,
    }
    module = GEMMNet({f"m{i}": 1 for i in range(number)}, CLASSES, **small).eval()
    network, calls = module.network, {"generator": 0, "features": 0}

    def counted(name, function):
        def call(*arguments):
            calls[name] += 1
            return function(*arguments)

        return call

    for entry in network.generators.values():
        monkeypatch.setattr(entry, "forward", counted("generator", entry.forward))
    monkeypatch.setattr(network, "encode_image", counted("features", network.encode_image))
    with torch.no_grad():
        encoded = module.encode({f"m{i}": torch.zeros(1, 1, 32, 32) for i in range(number)})
        assert calls == {"generator": 0, "features": number}
        for size in range(1, number + 1):
            for subset in combinations(encoded, size):
                module.decode({m: encoded[m] for m in subset}, (32, 32))
    assert calls == {"generator": painted, "features": number + painted}
