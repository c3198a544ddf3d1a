"""ShaSpec: shared-specific feature modelling (CVPR 2023, arXiv 2307.14126), two-dimensional."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "ShaSpec")
