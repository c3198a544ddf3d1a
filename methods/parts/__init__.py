"""Building blocks that several methods share: encoders, heads, losses, optimisers."""

import sys
from importlib import import_module

if "wandb" not in sys.modules:
    # timm imports W&B wherever it is installed, for a tool that nobody here uses: it takes a second
    # and makes two temporary folders, which stay when the process is killed
    sys.modules["wandb"] = None  # type: ignore[assignment]
    try:
        import_module("timm")
    finally:
        del sys.modules["wandb"]
