"""Raster files of anybody: what they say of themselves, and where they lie."""
