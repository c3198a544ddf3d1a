"""The exception that means "the user can mend this"; `benchmark.__main__` alone catches it."""

TERMINATED = 128 + 15  # exit status of a program that SIGTERM ended


class UserError(Exception):
    """A mistake in input, configuration or environment.

    The message is for the user: one sentence that says what is wrong and what to do about it.
    """

    status = 2  # exit status of a command that ends with it


class Busy(UserError):
    """Another process is at work on what was asked for; nothing is wrong."""

    status = 75  # "try again later" of sysexits.h
