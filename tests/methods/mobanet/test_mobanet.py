"""MoBaNet in full fulfils the contract."""

from __future__ import annotations

from methods.mobanet.module import MoBaNet
from tests.support.contract import MethodContract
from tests.support.mobanet_tiny import GATE, TINY


class TestMoBaNet(MethodContract):
    method = MoBaNet
    options = TINY
    silent = GATE
