"""What is printed, as a terminal shows it best; a pipe or a file is given the lines as they are."""

import shutil
import sys
import textwrap
from typing import TextIO

_INDENT = "    "


def say(text: object, stream: TextIO | None = None) -> None:
    """Print, to stdout unless another stream is given."""
    stream = stream or sys.stdout
    lines = str(text).splitlines()
    if stream.isatty():
        width = shutil.get_terminal_size().columns
        lines = [part for line in lines for part in folded(line, width)]
    print("\n".join(lines), file=stream)


def folded(line: str, width: int) -> list[str]:
    """A line that is too long, folded between words and indented; paths and addresses stay whole."""
    if len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())] + _INDENT
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, tabsize=1
    )
