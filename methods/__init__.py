"""Published methods for incomplete multimodal segmentation, and the parts they share."""
