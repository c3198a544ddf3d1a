"""A grid of experiments: which are done, and running the others on this machine or a cluster."""
