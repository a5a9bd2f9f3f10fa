"""What can go wrong, as a small tree: each error is also the builtin that a caller would expect.

A message is one line that prints: what is wrong, where, and what to do about it. No password of an address is in it.
"""

from cytotable_dagster.core.shown import one_line, shown


class CytoTableError(Exception):
    """Anything this package raises on purpose."""

    def __init__(self, message: str = "", *more: object) -> None:
        super().__init__(message, *more)
        # Set here, for OSError keeps what it was made with. Parts of messages are foreign: names, what a store says.
        self.args = (one_line(shown(message)), *more) if message else more

    def __str__(self) -> str:
        # KeyError would show the message's repr; the first argument is the message everywhere.
        return str(self.args[0]) if self.args else ""


class SourceNotFoundError(CytoTableError, FileNotFoundError):
    """The source does not exist, or its folder holds no plate."""


class SourceFormatError(CytoTableError, ValueError):
    """The source is not what its name or `source_datatype` says: empty, not SQLite, no table of any preset."""


class DamagedSourceError(CytoTableError, ValueError):
    """The source is SQLite but broken; the message names table and page. Trying again does not help."""


class SourceChangedError(CytoTableError, RuntimeError):
    """The source was written to while it was being read. Trying again may help."""


class PlanError(CytoTableError, RuntimeError):
    """What was planned for a plate does not hold: there is no plan, it was made for other options, by another version,
    or of a source that is another one now. The plate has to be prepared again; trying the same again does not help."""


class SourceAccessError(CytoTableError, PermissionError):
    """The store refused: no credentials, no permission, no such bucket."""


class UnsafeNameError(CytoTableError, ValueError):
    """A name out of a store, a source or a preset that would lie elsewhere than in its folder, or that no file of this
    machine can have."""


class DownloadError(CytoTableError, OSError):
    """A download failed or arrived with the wrong size or checksum. Trying again may help."""


class DamagedCopyError(DownloadError):
    """The copy of a plate in the cache was damaged, and was removed. Trying again fetches the plate anew."""


class UploadError(CytoTableError, OSError):
    """A result could not be put into a store. Trying again may help, and goes on where an upload was broken off."""


class WorkerLostError(CytoTableError, RuntimeError):
    """A process that did some of the work is gone: killed, out of memory, its machine lost. Trying again may help."""


class StoppedError(CytoTableError, RuntimeError):
    """Work that was called off before it was done."""


class KeyColumnError(CytoTableError, KeyError):
    """A table lacks a column that identifies its rows, or rows lack a value in it, or share one."""


class TargetError(CytoTableError, KeyError):
    """A table asked for by name is not in the source."""


class PresetError(CytoTableError, ValueError):
    """No preset of that name, or a preset that does not fit the source."""


class SchemaError(CytoTableError, TypeError):
    """A value or column that does not fit its type."""


class StrictError(CytoTableError, ValueError):
    """`strict=True`, and something did not fit or match; `report` (a `ConversionReport`) has all of it."""

    def __init__(self, message: str, report: object = None) -> None:
        super().__init__(message, report)
        self.report = report


class OptionError(CytoTableError, ValueError):
    """An option with a value that means nothing here."""


class DatatypeError(SourceFormatError, OptionError):
    """A `source_datatype` or `dest_datatype` that there is not, or that the source is not of."""


class DestinationExistsError(CytoTableError, FileExistsError):
    """The destination exists and `overwrite` was not given."""


class PlateExistsError(DestinationExistsError):
    """A dataset has a plate of that name, made of another source, and `overwrite` was not given."""


class DestinationInUseError(CytoTableError, TimeoutError):
    """Another process writes to the destination, and did not end within the time that it was waited for."""


class DiskFullError(CytoTableError, OSError):
    """There is no room for a file, or a limit of its size or of the user's share was met. Trying again may help."""


class OutOfMemoryError(CytoTableError, MemoryError):
    """There is too little memory. Trying again may help."""

    def __new__(cls, *arguments: object) -> "OutOfMemoryError":
        # MemoryError's own makes no subclass that has another base first, as an error from another process is made.
        return Exception.__new__(cls, *arguments)


class FileAccessError(CytoTableError, PermissionError):
    """The file system refuses: no rights, it may only be read, or something else is in the way."""


class FileMissingError(CytoTableError, FileNotFoundError):
    """A file or folder is gone, or cannot be made where it is wanted."""


class FileSystemError(CytoTableError, OSError):
    """A disk or a shared file system does not answer as it should. Trying again may help."""
