"""MoBaNet's comparison networks on VGG-16 encoders and mirrored decoders."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "CMFNet", "FuseNet", "VFuseNet")
