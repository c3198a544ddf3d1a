"""The exception that means "the user can mend this"; `benchmark.__main__` alone catches it."""

TERMINATED = 128 + 15  # exit status of a program that SIGTERM ended


class UserError(Exception):
    """A mistake in input, configuration or environment.

    The message is for the user: one sentence that says what is wrong and what to do about it.
    """
