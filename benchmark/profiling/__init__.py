"""Parameters, multiply-accumulates, latency and memory of methods."""
