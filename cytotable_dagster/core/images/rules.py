"""Path rules: which folder of another machine is which folder or prefix here.

A TOML file, or a list of tables:

    [[rules]]
    from = "/home/ubuntu/local_input/projects/<project>/<batch>/"
    to = "s3://cellpainting-gallery/<project>/images/<batch>/"

A name in `<...>` is a placeholder (see `support.placeholders`), and stands for the same in `to`, where `<plate>` is the
plate's.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images.paths import is_windows, leads_out, plain
from cytotable_dagster.core.support.arguments import address_in
from cytotable_dagster.core.support.placeholders import ANGLES, Template, refuse_without, template
from cytotable_dagster.core.support.written_paths import expanded

_PLATE = "plate"


@dataclass(frozen=True)
class Rule:
    """Addresses that begin with `start` lie at `target` instead; `any_case` where case says nothing in them."""

    start: Template
    target: Template
    any_case: bool

    def applied(self, address: str, plate: str) -> str | None:
        """Where a plain address lies by this rule; None where it says nothing of it."""
        levels, depth = address.split("/"), str(self.start).count("/") + 1
        parts = self.start.match("/".join(levels[:depth]), any_case=self.any_case)
        if parts is None:
            return None
        target = self.target.filled({_PLATE: plate, **parts})
        rest = "/".join(levels[depth:]).lstrip("/")
        return f"{target.rstrip('/')}/{rest}" if rest else target


def rules_of(given: "str | Path | Sequence[Mapping[str, str]] | None") -> tuple[Rule, ...]:
    """Rules out of a TOML file, or as they are given.

    Raises:
        OptionError: no such file, no TOML, or a rule that makes no sense; the message says which.
    """
    if given is None:
        return ()
    if not isinstance(given, str | Path):
        if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
            raise OptionError(f"path_rules {given!r}: give a TOML file, or a list of {{'from': ..., 'to': ...}}")
        return tuple(_rule(entry, f"path_rules, rule {place}") for place, entry in enumerate(given, start=1))
    path = Path(expanded(address_in("path_rules", given), to_read=True))
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
    start, target = (plain(entry[name]) for name in ("from", "to"))
    if leads_out(target):
        raise OptionError(f"{where}: to = {entry['to']!r} leads out of a folder; write it without ..")
    rule = Rule(template(start.rstrip("/"), ANGLES), template(target, ANGLES), is_windows(start))
    for name in rule.target.names:
        if name not in (*rule.start.names, _PLATE):
            refuse_without(f"<{name}>", f"{where}, from = {entry['from']!r}", f"/.../<{name}>/")
    return rule
