"""Scoring every modality subset of a model."""
