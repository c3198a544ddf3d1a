"""Names that came with a file: what they may be, and how they are shown."""

import unicodedata

from usererror import UserError

LONGEST = 100
# control, format and surrogate characters, unassigned ones, and the two separators of lines
UNSEEN = ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")


def printable(text: object) -> str:
    r"""Show a text without what a terminal would obey: control characters become their codes.

    Example:
        >>> printable("roof\x1b[2J"), printable("\u5efa\u7269")
        ('roof\\x1b[2J', '\u5efa\u7269')
    """
    shown = []
    for letter in str(text):
        if letter != "\n" and unicodedata.category(letter) in UNSEEN:
            letter = letter.encode("unicode_escape").decode()
        shown.append(letter)
    return "".join(shown)


def check_name(kind: str, name: object) -> str:
    """Return a name that may become part of a path: no folder, no control character.

    Example:
        >>> check_name("dataset", "town")
        'town'
        >>> check_name("dataset", "../town")
        Traceback (most recent call last):
        usererror.UserError: '../town' cannot be the name of a dataset.
    """
    problem = f"{str(name)[:LONGEST]!r} cannot be the name of a {kind}."
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST:
        raise UserError(problem)
    if name.startswith(".") or set(name) & {"/", "\\"} or printable(name) != name or "\n" in name:
        raise UserError(problem)
    return name
