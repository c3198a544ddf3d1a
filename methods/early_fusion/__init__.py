"""Early fusion: the channels of all sensors in one ordinary segmentation network."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "EarlyFusion")
