"""MuSS: concatenated features, or early fusion by channel attention (MultiSenseSeg, 2024)."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "MuSS")
