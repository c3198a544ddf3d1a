"""Average, Top-1 and Last-1 of run records as tables."""
