"""Georeferenced class maps of a user's rasters."""
