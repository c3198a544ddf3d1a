"""IMLT, supervised: incomplete multimodal learning with fusion tokens (IEEE TGRS 62, 2024)."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "IMLT")
