"""Token blocks against a literal attention, position tables, and the two layouts of tokens on a
map.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from benchmark.profiling.complexity import count_gmac, count_parameters
from methods.parts.tokens import (
    TokenBlock,
    modality_major_map,
    resized_table,
    sequential_map,
    tokens_of,
)


@pytest.mark.parametrize(
    ("width", "mlp", "count"), [(512, 4096, 5_250_048), (256, 512, 526_336), (16, 24, 1912)]
)
def test_counts(width, mlp, count):
    assert count_parameters(TokenBlock(width, 8, mlp))["total"] == count
    assert count == 4 * width**2 + 2 * width * mlp + 6 * width + mlp


def test_cost():
    """2048 tokens: 15.0 GMAC with 512 and 4096, 3.22 with 256 and 512 (gemmnet dossier 7)."""
    with torch.device("meta"):
        for width, mlp, expected in ((512, 4096, 15.0), (256, 512, 3.22)):
            tokens = torch.zeros(1, 2048, width)
            block = TokenBlock(width, 8, mlp).eval()
            counted = count_gmac(partial(block, tokens, tokens))
            assert counted == pytest.approx(expected, abs=0.05)


def test_block_is_the_textbook_one():
    torch.manual_seed(0)
    block, tokens, positions = (
        TokenBlock(16, 4, 24).eval(),
        torch.randn(2, 9, 16),
        torch.randn(1, 9, 16),
    )
    t = tokens + positions
    heads = block.qkv(F.layer_norm(t, (16,), block.norm.weight, block.norm.bias)).split(16, -1)
    mixed = []
    for h in range(4):
        q, k, v = (part[..., 4 * h : 4 * h + 4] for part in heads)
        mixed.append((q @ k.transpose(1, 2) / 2).softmax(-1) @ v)
    t = t + torch.cat(mixed, -1) @ block.proj.weight.T + block.proj.bias
    norm, up, _, _, down, _ = block.mlp
    normed = F.layer_norm(t, (16,), norm.weight, norm.bias)
    hidden = normed @ up.weight.T + up.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    expected = t + hidden @ down.weight.T + down.bias
    torch.testing.assert_close(block(tokens, positions), expected, rtol=1e-5, atol=1e-5)
    assert block.qkv.bias is None


def test_dropout_only_in_training():
    block, tokens = TokenBlock(16, 4, 24, dropout=0.5), torch.randn(1, 9, 16)
    assert not torch.equal(block(tokens, tokens), block(tokens, tokens))
    torch.testing.assert_close(block.eval()(tokens, tokens), block(tokens, tokens), rtol=0, atol=0)


def test_heads_must_divide():
    with pytest.raises(ValueError, match="do not divide"):
        TokenBlock(12, 8, 4)


def test_table_is_itself_at_its_own_grid_and_smooth_elsewhere():
    table = torch.randn(1, 64, 5)
    assert resized_table(table, (8, 8)) is table
    assert resized_table(table, (3, 11)).shape == (1, 33, 5)
    constant = torch.arange(5.0).expand(1, 64, 5)
    torch.testing.assert_close(resized_table(constant, (6, 9)), torch.arange(5.0).expand(1, 54, 5))
    # rows stay rows: a table of row numbers, twice as wide, repeats along the rows
    rows = torch.arange(8.0).repeat_interleave(8)[None, :, None]
    wide = resized_table(rows, (8, 16)).reshape(8, 16)
    torch.testing.assert_close(wide, torch.arange(8.0)[:, None].expand(8, 16), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="square"):
        resized_table(torch.zeros(1, 60, 2), (8, 8))


def test_tokens_are_read_row_by_row():
    features = torch.randn(2, 3, 4, 5)
    assert torch.equal(tokens_of(features)[1, 7], features[1, :, 1, 2])


def numbered(modalities: int, grid: tuple[int, int], width: int = 3) -> torch.Tensor:
    """Sequence whose token n is (n, n, n)."""
    count = modalities * grid[0] * grid[1]
    return torch.arange(float(count))[None, :, None].expand(1, count, width)


def test_sequential_layout_of_two_modalities_at_512():
    """Cell (0,0) holds tokens 0 and 1, (15,31) holds 1022 and 1023, (16,0) holds 1024 and 1025."""
    cells = sequential_map(numbered(2, (32, 32)), 2, (32, 32))
    assert cells.shape == (1, 6, 32, 32)
    for (row, column), (one, two) in {
        (0, 0): (0, 1),
        (15, 31): (1022, 1023),
        (16, 0): (1024, 1025),
    }.items():
        assert cells[0, :, row, column].tolist() == [one] * 3 + [two] * 3


@pytest.mark.parametrize("modalities", [1, 2, 3, 4])
def test_both_layouts_entry_by_entry(modalities):
    grid = (2, 5)
    tokens = torch.randn(2, modalities * 10, 3)
    aligned, released = (
        modality_major_map(tokens, modalities, grid),
        sequential_map(tokens, modalities, grid),
    )
    for n in range(10):
        for m in range(modalities):
            block = slice(3 * m, 3 * m + 3)
            assert torch.equal(aligned[:, block, n // 5, n % 5], tokens[:, 10 * m + n])
            assert torch.equal(released[:, block, n // 5, n % 5], tokens[:, modalities * n + m])
    if modalities == 1:
        assert torch.equal(aligned, released)


def test_modality_major_undoes_tokens_of():
    features = [torch.randn(2, 3, 4, 5) for _ in range(3)]
    sequence = torch.cat([tokens_of(f) for f in features], 1)
    assert torch.equal(modality_major_map(sequence, 3, (4, 5)), torch.cat(features, 1))
