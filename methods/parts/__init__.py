"""Building blocks that several methods share: encoders, heads, losses, optimisers."""
