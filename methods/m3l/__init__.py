"""M3L: masked modality learning with linear fusion (WACV 2024, arXiv 2304.10756)."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "M3L")
