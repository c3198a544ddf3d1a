"""MoBaNet's comparison networks with a stream per sensor."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "CMGFNet", "FTransUNet", "MANet")
