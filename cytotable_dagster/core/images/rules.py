"""Path rules: which folder of another machine is which folder or prefix here.

A TOML file, or a list of tables:

    [[rules]]
    from = "/home/ubuntu/local_input/projects/<project>/<batch>/"
    to = "s3://cellpainting-gallery/<project>/images/<batch>/"

A name in `<...>` stands for one folder's name, and for the same in `to`, where `<plate>` is the plate's.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images.paths import is_windows, leads_out, plain
from cytotable_dagster.core.support.written_paths import expanded

_PART = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")
_PLATE = "plate"


@dataclass(frozen=True)
class Rule:
    """Addresses that begin with `start` lie at `target` instead."""

    start: str
    target: str

    def applied(self, address: str, plate: str) -> str | None:
        """Where a plain address lies by this rule; None where it says nothing of it."""
        match = self._pattern().match(address)
        if match is None:
            return None
        parts = {_PLATE: plate, **match.groupdict()}
        target = _PART.sub(lambda part: parts[part[1]], self.target)
        rest = address[match.end() :].lstrip("/")
        return f"{target.rstrip('/')}/{rest}" if rest else target

    def _pattern(self) -> re.Pattern[str]:
        seen: set[str] = set()
        pieces = []
        for place, piece in enumerate(_PART.split(self.start.rstrip("/"))):
            if place % 2 == 0:
                pieces.append(re.escape(piece))
            else:
                pieces.append(f"(?P={piece})" if piece in seen else f"(?P<{piece}>[^/]+)")
                seen.add(piece)
        flags = re.IGNORECASE if is_windows(self.start) else 0
        return re.compile(f"{''.join(pieces)}(?=/|$)", flags)


def rules_of(given: "str | Path | Sequence[Mapping[str, str]] | None") -> tuple[Rule, ...]:
    """Rules out of a TOML file, or as they are given.

    Raises:
        OptionError: no such file, no TOML, or a rule that makes no sense; the message says which.
    """
    if given is None:
        return ()
    if not isinstance(given, str | Path):
        return tuple(_rule(entry, f"path_rules, rule {place}") for place, entry in enumerate(given, start=1))
    path = Path(expanded(given, to_read=True))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"path_rules {path}: cannot be read ({error.strerror}); give the path of a file") from error
    except ValueError as error:
        raise OptionError(f"path_rules {path}: not TOML ({error}); in backslashes, use single quotes") from error
    entries = content.get("rules")
    if not isinstance(entries, list) or not entries or content.keys() != {"rules"}:
        raise OptionError(f"path_rules {path}: a list of [[rules]] is expected, each with from = and to =")
    return tuple(_rule(entry, f"path_rules {path}, rule {place}") for place, entry in enumerate(entries, start=1))


def _rule(entry: Any, where: str) -> Rule:
    if not isinstance(entry, Mapping) or entry.keys() != {"from", "to"}:
        raise OptionError(f"{where}: from and to are expected, and nothing else")
    if not all(isinstance(text, str) and text.strip() for text in entry.values()):
        raise OptionError(f"{where}: from and to are addresses of folders")
    rule = Rule(plain(entry["from"]), plain(entry["to"]))
    if leads_out(rule.target):
        raise OptionError(f"{where}: to = {entry['to']!r} leads out of a folder; write it without ..")
    unknown = {*_PART.findall(rule.target)} - {*_PART.findall(rule.start), _PLATE}
    if unknown:
        raise OptionError(f"{where}: <{min(unknown)}> in to, which from does not name")
    return rule
