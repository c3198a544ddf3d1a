"""MAGIC: aggregation and selection of arbitrary modalities (arXiv 2407.11344)."""
