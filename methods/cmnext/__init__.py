"""CMNeXt: a primary sensor, one branch for all others (CVPR 2023, arXiv 2303.01480)."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "CMNeXt")
