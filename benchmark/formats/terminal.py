"""Texts on a terminal of any character set; standard library only."""

import codecs
import io
import sys

SPELLED = "spelled"  # name of the error handler
IN_ASCII = {"\u00b1": "+-", "\u2026": "...", "\u2013": "-", "\u2014": "-", "\u00d7": "x"}


def spell_out(error: UnicodeError) -> tuple[str, int]:
    """Replace what a character set lacks by signs of ASCII, or by its code."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    spelled = ""
    for letter in error.object[error.start : error.end]:
        code = letter.encode("ascii", "backslashreplace").decode()
        spelled += IN_ASCII.get(letter, code)
    return spelled, error.end


codecs.register_error(SPELLED, spell_out)


def accept_any_character() -> None:
    """Let no name end a command because the terminal cannot show it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELLED)


def as_shown(text: str) -> str:
    """Return what standard output will show of a text, which may be longer."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, SPELLED).decode(encoding)
