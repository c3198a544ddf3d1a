"""MoBaNet: a frozen vision transformer, trained adapters, balanced fusion (arXiv 2603.17705)."""
