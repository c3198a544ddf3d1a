"""mmFormer: a small transformer per modality and one across them; absent modalities are zeros."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "MMFormer")
