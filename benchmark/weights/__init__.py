"""Weights that a network starts from, and those that a trained network is published as."""
