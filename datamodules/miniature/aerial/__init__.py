"""Procedural towns seen from above."""
