"""RobustSeg: AnySeg's network, taught by means of classes and by features under noise."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "RobustSeg")
