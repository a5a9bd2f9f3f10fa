"""How text of elsewhere is shown to people: addresses without the password in them, messages in one line."""

import re

# A user, and a password that may hold anything but blanks and `@`; `:5000/` after a host is its port, and no password.
_LOGIN = re.compile(r"://[^\s/@:]{0,200}(?::(?!\d{1,5}(?:/|$))[^\s@]{0,200})?@")


def shown(text: str) -> str:
    """A text with the user and password taken out of every address in it: `http://user:secret@host` is `http://host`."""
    return _LOGIN.sub("://", text)


def one_line(text: str, most: int | None = None) -> str:
    """A text in one line, and of no more than so many characters; what does not print (control characters, bytes that
    are no text) is shown escaped."""
    lines = text.splitlines()
    line = " / ".join(part.strip() for part in lines if part.strip()) if len(lines) > 1 else "".join(lines)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return line if most is None or len(line) <= most else f"{line[:most]}..."
