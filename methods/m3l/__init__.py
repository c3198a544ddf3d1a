"""M3L: masked modality learning with linear fusion (WACV 2024, arXiv 2304.10756)."""
