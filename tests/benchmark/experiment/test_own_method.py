"""The method of examples/own_method, which is not part of the packages."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "own_method"
sys.path.insert(0, str(FOLDER))

from late_average import LateAverage  # noqa: E402

from tests.support.contract import MethodContract  # noqa: E402


class TestLateAverage(MethodContract):
    method = LateAverage
    options = {"width": 8}
    masks = False
