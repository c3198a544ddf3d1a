"""Folders of other projects whose names alone say which raster is what; no scenes.csv is needed."""
