"""The control: mean of the available features of a shared encoder."""
