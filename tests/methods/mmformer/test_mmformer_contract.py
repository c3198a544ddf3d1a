"""mmFormer fulfils the contract, with both layouts and both norms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from methods.mmformer.module import MMFormer
from tests.support.contract import MethodContract

SMALL = {"width": 16, "mlp": 24, "heads": 4, "grid": 3}


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """New tensors are of this type within."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


class DoubleContract(MethodContract):
    """The contract with its own tolerances, in double precision.

    Some thirty layers in a row, each behind a normalisation, make 3e-5 of single precision's
    rounding in logits of size
    one: more than the contract's 1e-5, measured against double precision.
    """

    method = MMFormer

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def double(cls):
        with precision(torch.float64):
            yield

    def test_half_precision_follows_float32(self, modalities):
        with precision(torch.float32):
            super().test_half_precision_follows_float32(modalities)


class TestMMFormer(DoubleContract):
    options = SMALL
    # an instance norm takes the bias before it out again: what is left of its gradient is rounding,
    # or nothing
    silent = ("conv.bias", "firsts.0.bias")


class TestMMFormerReleased(DoubleContract):
    options = {**SMALL, "as_released": True}
    silent = TestMMFormer.silent
    counts = (3,)


class TestMMFormerLayerNorm(DoubleContract):
    options = {**SMALL, "norm": "layer"}
    counts = (3,)
