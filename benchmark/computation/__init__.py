"""How a network is computed: the rounding of products, compiled encoders."""
