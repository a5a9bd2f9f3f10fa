"""What can go wrong, to be caught by name; see `core.errors` for what each means.

Those that end in `Exception` are CytoTable's names for the same.
"""

from cytotable_dagster.core.errors import (
    CytoTableError,
    DamagedCopyError,
    DamagedSourceError,
    DatatypeError,
    DestinationExistsError,
    DestinationInUseError,
    DiskFullError,
    DownloadError,
    FileAccessError,
    FileMissingError,
    FileSystemError,
    KeyColumnError,
    OptionError,
    OutOfMemoryError,
    PlanError,
    PlateExistsError,
    PresetError,
    SchemaError,
    SourceAccessError,
    SourceChangedError,
    SourceFormatError,
    SourceNotFoundError,
    StoppedError,
    StrictError,
    TargetError,
    UnsafeNameError,
    UploadError,
    WorkerLostError,
)

CytoTableException = CytoTableError
DatatypeException = DatatypeError
NoInputDataException = SourceNotFoundError
SchemaException = SchemaError
SQLiteReadOnlyException = SourceAccessError

__all__ = [
    "CytoTableError",
    "CytoTableException",
    "DamagedCopyError",
    "DamagedSourceError",
    "DatatypeError",
    "DatatypeException",
    "DestinationExistsError",
    "DestinationInUseError",
    "DiskFullError",
    "DownloadError",
    "FileAccessError",
    "FileMissingError",
    "FileSystemError",
    "KeyColumnError",
    "NoInputDataException",
    "OptionError",
    "OutOfMemoryError",
    "PlanError",
    "PlateExistsError",
    "PresetError",
    "SQLiteReadOnlyException",
    "SchemaError",
    "SchemaException",
    "SourceAccessError",
    "SourceChangedError",
    "SourceFormatError",
    "SourceNotFoundError",
    "StoppedError",
    "StrictError",
    "TargetError",
    "UnsafeNameError",
    "UploadError",
    "WorkerLostError",
]
