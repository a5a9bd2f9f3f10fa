"""A Parquet file of our own writing, whose row groups are opened one at a time.

Of a footer, pyarrow keeps more than a kilobyte for each column of each row group: of 200,000 rows of 5,700 columns
650 MB, where the footer itself has 60.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.parquet.parts import MAGIC, Part, footer_like, footer_of, key_values
from cytotable_dagster.core.parquet.thrift import (
    GROUP_ROWS,
    fields,
    varint,
    zigzag_decode,
)
from cytotable_dagster.core.parquet.writing import PREFIX, facts_in

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class RowGroups:
    """The row groups of a file; `spans` are their places in the footer."""

    path: Path
    part: Part
    spans: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, path: Path) -> "RowGroups":
        """Those of a file; raises SchemaError where it is not whole."""
        part = footer_of(path)
        return cls(path, part, part.spans)

    @property
    def num_rows(self) -> int:
        """Rows of all."""
        return self.part.rows

    @cached_property
    def schema(self) -> "pa.Schema":
        """Their columns."""
        return self._without_rows.schema.to_arrow_schema()

    @property
    def facts(self) -> Mapping[str, str]:
        """What the footer tells of the file."""
        return facts_in(self._without_rows)

    def opened(self, text_as_codes: Sequence[str] = ()) -> "Iterator[pq.ParquetFile]":
        """A file of each, which is closed when the next is asked for.

        Args:
            text_as_codes: columns of text that are read as dictionaries.
        """
        import pyarrow.parquet as pq

        footer = self.part.footer
        for start, end in self.spans:
            (rows,) = (varint(footer, at)[0] for field, _, at, _ in fields(footer, start) if field == GROUP_ROWS)
            metadata = self._metadata(zigzag_decode(rows), footer[start:end], 1)
            with pq.ParquetFile(self.path, metadata=metadata, read_dictionary=list(text_as_codes)) as file:
                yield file

    def read(self, columns: Sequence[str]) -> "pa.Table":
        """Columns of all rows, text as dictionaries."""
        import pyarrow as pa

        schema = self.schema
        texts = [name for name in columns if schema.field(name).type == pa.string()]
        tables = [file.read(columns=list(columns)) for file in self.opened(texts)]
        return pa.concat_tables(tables) if tables else pa.schema(map(schema.field, columns)).empty_table()

    @cached_property
    def _without_rows(self) -> "pq.FileMetaData":
        return self._metadata(0, b"", 0)

    def _metadata(self, rows: int, groups: bytes, count: int) -> "pq.FileMetaData":
        import pyarrow as pa
        import pyarrow.parquet as pq

        entries = {name.decode(): value.decode() for name, value in key_values(self.part).items()}
        return pq.read_metadata(pa.BufferReader(MAGIC + footer_like(self.part, rows, groups, count, entries)))


def facts_of(part: Part) -> dict[str, str]:
    """What `writing.footer` wrote into a footer, without its prefix."""
    entries = {name.decode(): value.decode() for name, value in key_values(part).items()}
    return {name.removeprefix(PREFIX): value for name, value in entries.items() if name.startswith(PREFIX)}
