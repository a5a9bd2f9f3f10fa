"""Addresses: which are a store's, which store they are of, and what they name there."""

import re

from cytotable_dagster.core.errors import OptionError

# By scheme, the module of this room that speaks to such stores; see `objects.Client`.
PROVIDERS = {"s3": "s3", "gs": "gs", "az": "az"}
_REMOTE = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def is_remote(address: str) -> bool:
    """Whether an address names an object in a store rather than a file of this machine."""
    return _REMOTE.match(address) is not None


def check_store(address: str) -> None:
    """Refuse an address that is neither this machine's nor that of a store which is known.

    Raises:
        OptionError: naming the kind of address (`gs://`, `az://`).
    """
    scheme = scheme_of(address)
    if scheme and scheme not in PROVIDERS:
        known = ", ".join(f"{name}://" for name in PROVIDERS)
        raise OptionError(
            f"{address}: {scheme}:// addresses are not supported in this version; there are {known} and files of this "
            "machine"
        )


def is_prefix(address: str) -> bool:
    """Whether an address is that of a folder: its last name has no ending."""
    return address.endswith("/") or "." not in address.rsplit("/", 1)[-1]


def scheme_of(address: str) -> str:
    """What stands before `://`; empty for files of this machine."""
    found = _REMOTE.match(address)
    return found[1] if found else ""


def place_of(uri: str) -> tuple[str, str]:
    """Bucket and key of an address.

    Raises:
        OptionError: it is that of no store.
    """
    check_store(uri)
    scheme = scheme_of(uri)
    bucket, _, key = uri.removeprefix(f"{scheme}://").partition("/")
    if not scheme or not bucket:
        wanted = f"{scheme}://bucket/key" if scheme else " or ".join(f"{name}://bucket/key" for name in PROVIDERS)
        raise OptionError(f"{uri}: no file of this machine, and not {wanted}")
    return bucket, key


def bucket_of(uri: str) -> str:
    """The address of the bucket that an address is in, `s3://bucket/`."""
    return f"{scheme_of(uri)}://{place_of(uri)[0]}/"
