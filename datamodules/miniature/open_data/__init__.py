"""Generated copies of datasets that anyone can download."""
