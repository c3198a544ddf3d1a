"""AnySeg: a plain network of any sensors that learns from one that sees all of them."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "AnySeg")
