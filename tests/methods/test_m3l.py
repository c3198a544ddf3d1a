from methods.m3l.module import M3L
from tests.methods.contract import MethodContract
SMALL = {"backbone": "pvt_v2_b0", "pretrained": False, "head_width": 16}


class TestM3L(MethodContract):
    method = M3L
    options = SMALL


class TestM3LBlock(MethodContract):
    method = M3L
    options = {**SMALL, "fusion": "block"}
