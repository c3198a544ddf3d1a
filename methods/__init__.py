"""Published methods for incomplete multimodal segmentation, one folder each, and the parts they share."""
