"""Early fusion: the baseline every reviewer asks for."""
