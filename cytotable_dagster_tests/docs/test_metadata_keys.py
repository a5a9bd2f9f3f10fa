"""The page of metadata has every key that the assets and checks show, and no other."""

import ast
import re
from collections.abc import Iterator

from cytotable_dagster.core.images.image import STATUSES
from cytotable_dagster_tests.docs.blocks import ROOT

DEFS = ROOT / "cytotable_dagster" / "defs"
# Dictionaries of metadata, by the names that they have where they are filled.
_FILLED = ("shown", "facts", "known", "pictures", "drawn")
# Not keys of their own: shown by what follows them, or names of files and columns.
_ANY = {"<>", "<>, <>"}


def _key(node: ast.expr) -> str | None:
    """A key as the page has it: `<>` for what is put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "<>" for part in node.values)
    return None


def _keys(node: ast.AST) -> Iterator[str]:
    """Keys of a dictionary and of those spread in it, whatever their conditions."""
    if isinstance(node, ast.IfExp):
        yield from (*_keys(node.body), *_keys(node.orelse))
    if isinstance(node, ast.DictComp):
        yield from filter(None, [_key(node.key)])
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                yield from _keys(value)
            else:
                yield from filter(None, [_key(key)])


def _in_function(function: ast.FunctionDef) -> Iterator[str]:
    of_metadata = function.returns is not None and "Metadata" in ast.unparse(function.returns)
    for node in ast.walk(function):
        if (isinstance(node, ast.Return) and node.value is not None and of_metadata) or (
            isinstance(node, ast.keyword) and node.arg == "metadata"
        ):
            yield from _keys(node.value)
        elif isinstance(node, ast.Dict):
            yield from (
                found
                for key, value in zip(node.keys, node.values, strict=True)
                if key is not None and _key(key) == "metadata"
                for found in _keys(value)
            )
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = ast.unparse(target).partition("[")[0]
            if name in _FILLED or (of_metadata and name == "found"):
                yield from _keys(node.value)
                if isinstance(target, ast.Subscript):
                    yield from filter(None, [_key(target.slice)])


def shown() -> set[str]:
    """Every key that code of the Dagster side puts into metadata."""
    found = set(STATUSES) | {"not looked at"}
    for path in DEFS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                found.update(_in_function(node))
    return found - _ANY


def told() -> set[str]:
    """Every key that the page names: the first column, of checks the last, and those of chunks."""
    text = (ROOT / "docs" / "metadata.md").read_text()
    tables, checks = text.split("\n## Checks\n")
    # One row of a table tells several keys; the words beside them may quote others.
    rows = [line.split(" | ")[0] for line in tables.splitlines() if line.startswith("| `")]
    rows += [line.split(" | ", 2)[2] for line in checks.splitlines() if re.match(r"\| (`\w+` \||of all)", line)]
    rows += [text.split("by chunk: ")[1].split("\n\n")[0], text.split("A plate whose run failed")[1]]
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    return {re.sub(r"<[^>]*>", "<>", name) for name in names} - _ANY


def test_the_page_has_every_key_and_no_other():
    # Placeholders of addresses are known when plates are.
    assert told() - {"batch"} == shown()
