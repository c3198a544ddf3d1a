"""MAGIC: aggregation and selection of arbitrary modalities (arXiv 2407.11344)."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "MAGIC")
