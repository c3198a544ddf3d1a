"""Procedural scenes, written in the official layouts of the real datasets, so that the same adapters import them.

`scene` paints suburbs seen from above and `sensors` photographs them (`sar` adds radar, `city` lets tiles share
ground); `street` paints what a car sees. One module per dataset (`potsdam`, `vaihingen`, `dfc2023`, `deliver`) writes
the result the way that dataset is distributed; `catalogue` lists them by name.
"""
