"""Results as AnnData, in an HDF5 file (`.h5ad`) or a Zarr store (`.zarr`): features in X, all else of a cell in obs."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module

from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.errors import DestinationExistsError, OptionError, StrictError
from cytotable_dagster.core.images import Search
from cytotable_dagster.core.model.casts import checked_casts
from cytotable_dagster.core.model.choices import H5AD, ZARR
from cytotable_dagster.core.parquet.groups import RowGroups
from cytotable_dagster.core.planning.options import names_in
from cytotable_dagster.core.reports.records import ConversionReport
from cytotable_dagster.core.reports.results import ConversionResult, PlatesReport
from cytotable_dagster.core.shown import counted
from cytotable_dagster.core.sinks.anndata_hdf5 import hdf5_file
from cytotable_dagster.core.sinks.anndata_parts import parts_of, write_parts
from cytotable_dagster.core.sinks.anndata_zarr import zarr_store
from cytotable_dagster.core.sinks.matrix import Matrix
from cytotable_dagster.core.sinks.sink import Sink, Target
from cytotable_dagster.core.support.files import size_of
from cytotable_dagster.core.support.publication import exists_already

_HDF5 = b"\x89HDF\r\n\x1a\n"
_GROUP = (".zgroup", "zarr.json")
Report = ConversionReport | PlatesReport
_FLOAT32, _FLOAT64 = {"float": "float32"}, {"float": "float64"}


@dataclass(frozen=True)
class AnnDataSink(Sink):
    """One AnnData of the joined single cells, or of one table; `kind` is H5AD or ZARR."""

    kind: str

    def joined(self, join: bool | None, joins: str | None, targets: str | Iterable[str] | None) -> bool | None:
        return (joins is not None or targets is None) if join is None else join

    def request(self, request: Request, search: Search | None) -> Request:
        _check_packages()
        if not request.joined and len(names_in("targets", request.options.targets) or ()) != 1:
            raise OptionError("AnnData is of one table: leave out join=False, or name one as in targets=['cells']")
        if not request.options.one_file:
            raise OptionError("AnnData is one file or store, of several plates too; leave out concat=False")
        if search is not None or request.column_map:
            raise OptionError("provenance=True and column_map=True are of Parquet tables; convert to Parquet for them")
        # What does not fit is counted with everything else that does not.
        casts = checked_casts(_FLOAT32) | dict(request.options.casts)
        return replace(request, options=replace(request.options, casts=tuple(sorted(casts.items()))))

    def check(self, target: Target) -> None:
        place, name = target.place, target.name
        if not place.exists(name):
            return
        if not target.overwrite:
            raise exists_already(target.address)
        if not self._is_one(target):
            what = "HDF5 file" if self.kind == H5AD else "Zarr store"
            raise DestinationExistsError(
                f"{target.address}: exists and is no {what}, and so is not replaced by one; remove it, or name another "
                "dest_path"
            )

    def write(self, made: ConversionResult, target: Target, request: Request) -> ConversionResult:
        ((table, facts),) = made.files.items()
        out = target.scratch / target.name
        groups = RowGroups.of(facts.path)
        parts = parts_of(groups, target.address)
        matrix = Matrix(groups, parts.features, _dtype(request))
        with (hdf5_file if self.kind == H5AD else zarr_store)(out) as container:
            write_parts(container, groups, parts)
            container.put_x(matrix)
        made = replace(made, report=_with_unfit(made.report, matrix, strict=request.strict))
        written = replace(facts, path=target.place.path(target.name), size=size_of(out))
        with target.place.together(target.scratch, target.claim, overwrite=target.overwrite) as results:
            results.take(out, target.name)
        return replace(made, files={table: written})

    def _is_one(self, target: Target) -> bool:
        """Whether what is there is of this kind."""
        if self.kind == ZARR:
            return any(target.place.exists(f"{target.name}/{file}") for file in _GROUP)
        if target.place.find(target.name) is None:
            return False
        # What is no file but a folder cannot be opened.
        with suppress(OSError), target.place.open(target.name) as file:
            return bytes(file.read(len(_HDF5))) == _HDF5
        return False


def _dtype(request: Request) -> str:
    """The type of X: that of the features, or float32 where that is none for it."""
    wide = checked_casts(_FLOAT64).items() <= dict(request.options.casts).items()
    return "float64" if wide else "float32"


def _with_unfit(report: Report, matrix: Matrix, *, strict: bool) -> Report:
    """A report, and what X does not hold of the numbers of a query, which no reader of the source has cast.

    Raises:
        StrictError: there is some, with `strict`.
    """
    lines = tuple(
        f"{name} of the query: {counted(count, 'value')} beyond {matrix.dtype}, NaN in the result"
        for name, count in matrix.unfit.items()
    )
    report = replace(report, query_problems=(*report.query_problems, *lines))
    if strict and lines:
        raise StrictError(f"{lines[0]}; mend the query, or convert without strict=True", report)
    return report


def _check_packages() -> None:
    for package in ("anndata", "h5py", "zarr"):
        try:
            import_module(package)
        except ImportError as error:
            raise OptionError(
                f"AnnData needs its packages, and {package} is missing: pip install 'cytotable-dagster[anndata]'"
            ) from error
