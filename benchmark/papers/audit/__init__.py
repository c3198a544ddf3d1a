"""Recomputes what papers derive from their own printed numbers."""
