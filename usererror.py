"""The one exception that means "the user can mend this"; caught once, in `benchmark.__main__.main`."""


class UserError(Exception):
    """A mistake in input, configuration or environment, worded for the user: what is wrong, and what to do about it."""
