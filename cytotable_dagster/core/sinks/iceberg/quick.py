"""pyiceberg's transaction, which of a table of thousands of columns makes all metadata anew whenever it looks at them:
twenty times a plate, a quarter of a second each. Here that is done once for each change."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyiceberg.table import Table, Transaction
    from pyiceberg.table.metadata import TableMetadata


def quick_transaction(table: "Table") -> "Transaction":
    """`table.transaction()`."""
    from pyiceberg.table import Transaction

    class Quick(Transaction):
        _made: "tuple[object, TableMetadata] | None" = None

        @property
        def table_metadata(self) -> "TableMetadata":
            if self._made is None or self._made[0] is not self._updates:
                self._made = (self._updates, super().table_metadata)
            return self._made[1]

    return Quick(table)
