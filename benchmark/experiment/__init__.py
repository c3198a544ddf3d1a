"""One training run: configuration, identity, training, checkpoints, manifest."""
