"""SGMA: semantic-guided modality-aware segmentation (arXiv 2603.02505)."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "SGMA")
