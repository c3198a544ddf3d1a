"""Cross-entropy over valid pixels."""

from __future__ import annotations

import math

import torch

from methods.parts.losses import cross_entropy


def test_mean_over_valid_pixels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    mask = torch.randint(0, 3, (2, 4, 5), generator=generator)
    mask[0, 0] = 255
    values = []
    for b in range(2):
        for y in range(4):
            for x in range(5):
                label = int(mask[b, y, x])
                if label != 255:
                    row = [math.exp(v) for v in logits[b, :, y, x].tolist()]
                    values.append(-math.log(row[label] / sum(row)))
    assert len(values) == 35
    torch.testing.assert_close(
        cross_entropy(logits, mask), torch.tensor(sum(values) / 35), rtol=1e-5, atol=1e-6
    )


def test_another_ignore_index():
    logits, mask = torch.zeros(1, 2, 2, 2), torch.tensor([[[0, 1], [9, 9]]])
    torch.testing.assert_close(cross_entropy(logits, mask, 9), torch.tensor(math.log(2)))


def test_nothing_valid_is_zero_with_a_graph():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 3, 3), 255))
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_is_summed_in_full():
    logits = torch.zeros(1, 2, 300, 300, dtype=torch.float16)
    loss = cross_entropy(logits, torch.zeros(1, 300, 300, dtype=torch.long))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.tensor(math.log(2)))
