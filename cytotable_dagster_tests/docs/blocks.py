"""The fenced blocks of README and docs."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# `# my_lab.toml` as a block's first line is the file that it stands for.
_NAME = re.compile(r"# (\S*\w\.\w+|Dockerfile)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line it begins in, its language as written, its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def first(self) -> str:
        return self.text.split("\n", 1)[0]

    @property
    def file(self) -> str | None:
        """The file whose content the block is, if its first line says so."""
        found = _NAME.match(self.first)
        return found[1] if found else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """All blocks of a page, in order."""
    text = (ROOT / page).read_text()
    found = [
        Block(page, text.count("\n", 0, match.start()) + 1, match[2], match[3].replace("\n" + match[1], "\n"))
        for match in _FENCE.finditer(text)
    ]
    assert 2 * len(found) == len(re.findall(r"^ *```", text, re.MULTILINE)), f"{page}: a fence that does not end"
    return found
