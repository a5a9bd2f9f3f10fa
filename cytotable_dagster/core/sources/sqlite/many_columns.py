"""CREATE TABLE statements of more columns than this SQLite takes, as several of fewer columns each.

SQLite takes 2,000 unless it is built for more (https://sqlite.org/limits.html#max_column), and then no other can read
a word of the file.
"""

import re
from collections.abc import Iterator

# What SQLite says of such a statement, and of a file that has one.
TOO_MANY = "too many columns"
# As few as any SQLite takes.
_AT_ONCE = 1000
# Texts, names, comments, marks, and what lies between them.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|$)|[(),]|[^'"`\[(),/-]+|.""",
    re.DOTALL,
)
_COMMENT = re.compile(r"--[^\n]*\n?|/\*.*?(\*/|$)", re.DOTALL)
_CONSTRAINT = re.compile(r"\s*(CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN)\b", re.IGNORECASE)
_PRIMARY = re.compile(r"\s*(CONSTRAINT\b.*?\b)?PRIMARY\b", re.IGNORECASE | re.DOTALL)


def parts_of(sql: str) -> Iterator[tuple[str, str]]:
    """Statements that make a table of some columns each, in order; the second of a pair is the same with the primary
    key that the whole table declares beside its columns, where it declares one.

    Of the other constraints nothing depends on how rows are stored.
    """
    head, definitions, tail = _divided(sql)
    columns = [text for text in definitions if not _CONSTRAINT.match(_COMMENT.sub(" ", text))]
    key = next((text for text in definitions[len(columns) :] if _PRIMARY.match(_COMMENT.sub(" ", text))), None)
    for start in range(0, len(columns), _AT_ONCE):
        own = columns[start : start + _AT_ONCE]
        plain, keyed = (f"{head}({','.join(terms)}\n){tail}" for terms in (own, [*own, key] if key else own))
        yield plain, keyed


def _divided(sql: str) -> tuple[str, list[str], str]:
    """What stands before the list of columns, its terms, and what stands behind it."""
    head, terms, depth = "", [""], 0
    tokens = (match[0] for match in _TOKEN.finditer(sql))
    for token in tokens:
        before, depth = depth, depth + (token == "(") - (token == ")")
        if not before and not depth:
            head += token
        elif not depth:
            break
        elif depth == 1 and token == ",":
            terms.append("")
        elif before:
            terms[-1] += token
    return head, terms, "".join(tokens)
