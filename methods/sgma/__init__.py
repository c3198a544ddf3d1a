"""SGMA: semantic-guided modality-aware segmentation (arXiv 2603.02505)."""
