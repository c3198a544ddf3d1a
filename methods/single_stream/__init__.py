"""Networks of one image: the channels of all sensors, or the optical ones alone."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "SingleStream")
