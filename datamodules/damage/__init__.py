"""Damage that sensors suffer, drawn so that every method, machine and window sees the same."""
