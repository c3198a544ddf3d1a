"""SGMA fulfils the contract, in its three variants and with its options."""

from __future__ import annotations

import pytest
import torch

from methods.sgma.module import SGMA
from tests.methods.contract import CHANNELS, MethodContract, images, training_batch
from usererror import UserError

SMALL = {"backbone": "pvt_v2_b0", "pretrained": False, "head_width": 16}


class TestSGMA(MethodContract):
    method = SGMA
    options = SMALL


class TestAdditive(MethodContract):
    method = SGMA
    options = {**SMALL, "fusion": "additive", "mas": False}
