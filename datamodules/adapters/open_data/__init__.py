"""Datasets that anyone can download, most of them tiles in folders."""
