"""Scoring a finished run once more: on other data, under damage."""
