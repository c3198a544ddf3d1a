"""Runs a method on a dataset, scores every modality subset and turns run records into tables."""
