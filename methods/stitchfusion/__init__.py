"""StitchFusion: adapters between the streams of one encoder (arXiv 2408.01343)."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "StitchFusion")
