"""Readers: what is on a disk becomes a scene store, and a scene store becomes batches."""
