"""Procedural scenes, written in the official layouts of the real datasets, so that the same adapters import them.

`scene` paints the ground truth (classes, heights, materials), `sensors` lights and photographs it, and one module per
dataset (`potsdam`) writes the result the way that dataset is distributed.
"""

from __future__ import annotations

from datamodules.miniature.potsdam import POTSDAM_QUIRKS, POTSDAM_TILES, potsdam_truth, write_potsdam

__all__ = ["POTSDAM_QUIRKS", "POTSDAM_TILES", "potsdam_truth", "write_potsdam"]
