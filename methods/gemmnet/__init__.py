"""GEMMNet (arXiv 2509.11102): missing modalities are generated before they are read."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "GEMMNet")
