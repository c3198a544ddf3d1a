"""Published split lists and class tables, as data files of the package."""
