"""Published methods for incomplete multimodal segmentation, and the parts they share."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def import_on_use(package: str, *names: str) -> Callable[[str], Any]:
    """Make the `__getattr__` of a method's package, for `from methods.sgma import SGMA`.

    The module with torch is imported when one of its classes is asked for.
    """

    def find(wanted: str) -> Any:
        if wanted not in names:
            raise AttributeError(f"module {package!r} has no attribute {wanted!r}")
        return getattr(import_module(f"{package}.module"), wanted)

    return find
