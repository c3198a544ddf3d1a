"""One importer per dataset: what its files are called and how they are read."""
