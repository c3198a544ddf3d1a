"""MoBaNet: a frozen vision transformer, trained adapters, balanced fusion (arXiv 2603.17705)."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "MoBaNet")
