"""From a scene store to batches: windows, samplers, augmentation, normalisation."""
