"""Float32 products on a GPU: rounded, unless they are to be exact; on a CPU nothing is set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmark.computation.products import round_products

GPU, CPU = torch.device("cuda"), torch.device("cpu")


def settings() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    matmul, convolutions = settings()
    yield
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = convolutions


def test_products_of_a_gpu_are_rounded_unless_they_are_to_be_exact() -> None:
    for exact, expected in ((None, ("high", True)), (True, ("highest", False))):
        round_products(GPU, exact)
        assert settings() == expected


def test_for_a_cpu_nothing_is_set() -> None:
    before = settings()
    for exact in (None, True):
        round_products(CPU, exact)
        assert settings() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_rounds_to_ten_binary_digits_and_not_beyond() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 256, 256, generator=generator, dtype=torch.float64)
    errors = []
    for exact in (True, None):
        round_products(GPU, exact)
        product = left.float().cuda() @ right.float().cuda()
        errors.append(float((product.cpu().double() - left @ right).abs().max()))
    # sums of 256 products of size one, rounded to 2**-24 and 2**-11
    assert errors[0] < 1e-4 and errors[1] < 0.1
