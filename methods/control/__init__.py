"""The control: mean of the available features of a shared encoder."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "Control")
