"""Procedural street views."""
