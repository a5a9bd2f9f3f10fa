"""What the user may choose about the content of the results, and how arguments of any kind are checked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.model.casts import checked_casts
from cytotable_dagster.core.model.names import DEFAULT_NAMES, NAMES
from cytotable_dagster.core.sources.csv.dialect import CsvFormat, checked_separators
from cytotable_dagster.core.sources.csv.header import check_encoding
from cytotable_dagster.core.sources.csv.sites import check_site_pattern
from cytotable_dagster.core.support.arguments import number_in
from cytotable_dagster.core.support.files import WHERE_GIVEN
from cytotable_dagster.core.support.suggestions import there_are

# What `join` says where compartments and the joined table are results.
BOTH = "both"
# What becomes of rows of the joined table that lack one of the objects that belong together.
KEEP, DROP = "keep", "drop"
UNMATCHED = (KEEP, DROP)
# What becomes of sites of a CSV plate whose image tables are equal to the byte.
REFUSE = "refuse"
EQUAL_SITES = (REFUSE, KEEP)


@dataclass(frozen=True)
class Options:
    """What the results depend on beside their source and its preset.

    `joined` says that chunks will be joined, `both` that their compartments are results too (else None), `one_file`
    that they end in one file.
    `targets` are the compartments wanted, all where it is None. `chunk_size` is in objects; `chunks` asks for that
    many shares of the plate instead. `numbered` asks for the plate's TableNumber (see `identity.content_crc32`) in
    every row, as `Metadata_TableNumber`; `plate_name` is, where a plate is one of several, what it goes by where its
    tables do not say.
    `encoding`, `delimiter` and `decimal` are those of CSV files, see `csv.dialect`; `site_pattern` and `equal_sites`
    are about the folders of their sites, see `csv.sites`. `names` is one of `names.NAMES`; `unmatched` says whether
    the joined table keeps rows that lack one of the objects that belong together, or drops them.
    """

    joined: bool = False
    both: bool | None = field(default=None, metadata=WHERE_GIVEN)
    one_file: bool = True
    chunk_size: int | None = None
    chunks: int | None = None
    casts: tuple[tuple[str, str], ...] = ()
    targets: tuple[str, ...] | None = None
    numbered: bool = False
    plate_name: str | None = None
    drop_null: bool = False
    image_features: bool = False
    encoding: str = "utf-8"
    delimiter: str | None = field(default=None, metadata=WHERE_GIVEN)
    decimal: str | None = field(default=None, metadata=WHERE_GIVEN)
    site_pattern: str | None = field(default=None, metadata=WHERE_GIVEN)
    equal_sites: str | None = field(default=None, metadata=WHERE_GIVEN)
    names: str = DEFAULT_NAMES
    unmatched: str = KEEP

    @classmethod
    def checked(
        cls,
        data_type_cast_map: Mapping[str, str] | None = None,
        *,
        targets: str | Iterable[str] | None = None,
        chunk_size: int | None = None,
        names: str | None = None,
        unmatched: str = KEEP,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        decimal: str | None = None,
        site_pattern: str | None = None,
        equal_sites: str | None = None,
        **others: Any,
    ) -> "Options":
        """Options as a user gives them.

        Raises:
            OptionError: one that means nothing.
        """
        if not isinstance(data_type_cast_map, Mapping | None):
            raise OptionError(
                f"data_type_cast_map {data_type_cast_map!r}: give types by group, such as {{'float': 'float32'}}"
            )
        check_encoding(encoding)
        delimiter, decimal = checked_separators(delimiter, decimal)
        check_site_pattern(site_pattern)
        if equal_sites is not None:
            one_of("equal_sites", equal_sites, EQUAL_SITES)
        for name in ("drop_null", "image_features"):
            check_flag(name, others.get(name, False))
        return cls(
            casts=tuple(sorted(checked_casts(data_type_cast_map).items())),
            targets=names_in("targets", targets),
            chunk_size=None if chunk_size is None else number_in("chunk_size", chunk_size, "objects"),
            names=one_of("names", DEFAULT_NAMES if names is None else names, NAMES),
            unmatched=one_of("unmatched", unmatched, UNMATCHED),
            encoding=encoding,
            delimiter=delimiter,
            decimal=decimal,
            site_pattern=site_pattern,
            equal_sites=None if equal_sites == REFUSE else equal_sites,
            **others,
        )

    @property
    def only_joined(self) -> bool:
        """Whether compartments are read for nothing but the joined table."""
        return self.joined and not self.both

    @property
    def format(self) -> CsvFormat:
        return CsvFormat(self.encoding, self.delimiter, self.decimal, self.site_pattern, self.equal_sites == KEEP)


def names_in(option: str, names: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Names, however they were listed; a text is one name.

    Raises:
        OptionError: something else is there.
    """
    if names is None:
        return None
    if isinstance(names, str):
        return (names,)
    listed = tuple(names) if isinstance(names, Iterable) else (names,)
    for name in listed:
        if not isinstance(name, str):
            raise OptionError(f"{option}: {name!r} is no name; give a list of names, such as ['cells', 'nuclei']")
    return listed


def one_of(option: str, value: str, known: Sequence[str], refusal: type[OptionError] = OptionError) -> str:
    """A word that an option knows.

    Raises:
        OptionError: it does not; `refusal` is that kind of it.
    """
    if value not in known:
        raise refusal(f"{option} {value!r} is not known; {there_are(str(value), known)}")
    return value


def check_join(join: bool | str | None, *, undecided: bool = False) -> None:
    """Refuse what `join` does not know.

    Raises:
        OptionError: it is neither yes nor no nor BOTH, nor None where it may be `undecided`.
    """
    if join not in (True, False, BOTH) and not (undecided and join is None):
        none = ", None" if undecided else ""
        raise OptionError(f'join {join!r} is not known; there are: True, False, "{BOTH}"{none}')


def check_flag(option: str, value: bool | None, *, undecided: bool = False) -> None:
    """Refuse what is neither yes nor no, such as the text `no`, which would be taken for yes.

    Raises:
        OptionError: it is neither, nor None where it may be `undecided`.
    """
    if value not in (True, False) and not (undecided and value is None):
        raise OptionError(f"{option} {value!r} is not known; there are: True, False{', None' if undecided else ''}")
