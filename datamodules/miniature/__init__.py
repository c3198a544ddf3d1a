"""Procedural scenes in the official layouts of the real datasets, for the same adapters to import.

`aerial` paints suburbs seen from above and takes their pictures, `street` what a car sees. A module
per dataset (`potsdam`, `vaihingen`, `dfc2023`, `deliver`) writes the result the way that dataset is
distributed; `registry` lists them by name.
"""
