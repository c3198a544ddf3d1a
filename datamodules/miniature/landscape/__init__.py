"""Painted country a few kilometres wide, as satellites with pixels of 10 m see it."""
