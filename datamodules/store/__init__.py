"""The scene store on disk: index, rasters, statistics."""
