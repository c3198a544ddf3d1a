"""Run records: write, read, select and group them."""
