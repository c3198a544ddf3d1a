"""ShaSpec: shared-specific feature modelling (CVPR 2023, arXiv 2307.14126), two-dimensional."""
