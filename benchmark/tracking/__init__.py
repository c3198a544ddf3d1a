"""Weights & Biases and example pictures."""
