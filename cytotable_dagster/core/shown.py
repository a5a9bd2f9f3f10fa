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


def counted(number: int, noun: str) -> str:
    """`1 plate`, `2,525 plates`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def human_bytes(size: int) -> str:
    """`512 bytes`, `1.5 kB`, `572 MB`: three digits, in powers of a thousand."""
    if size < 1000:
        return counted(size, "byte")
    power = next(power for power in range(1, 6) if power == 5 or size / 1000**power < 999.5)
    return f"{size / 1000**power:.3g} {('kB', 'MB', 'GB', 'TB', 'PB')[power - 1]}"
