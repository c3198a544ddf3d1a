"""The rows of MoBaNet's ablation fulfil the contract."""

from __future__ import annotations

from methods.mobanet.module import MoBaNet
from tests.support.contract import MethodContract
from tests.support.mobanet_tiny import BASE, GATE, TINY, VARIANTS


class TestMoBaNetBase(MethodContract):
    method = MoBaNet
    options = {**TINY, **BASE}


class TestMoBaNetCPIA(MethodContract):
    method = MoBaNet
    options = {**TINY, **VARIANTS["mobanet_cpia"]}
    counts = (3,)


class TestMoBaNetNoMCRM(MethodContract):
    method = MoBaNet
    options = {**TINY, **VARIANTS["mobanet_no_mcrm"]}
    silent = GATE
    counts = (3,)
