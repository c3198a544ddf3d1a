"""MetaRS: what sensors have in common, freed of what tells them apart, beside what each adds."""

from methods import import_on_use

__getattr__ = import_on_use(__name__, "MetaRS")
