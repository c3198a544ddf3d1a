"""MAGIC: modality-agnostic segmentation with aggregation and arbitrary-modal selection (arXiv 2407.11344)."""
