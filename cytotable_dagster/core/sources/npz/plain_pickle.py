"""Pickles that hold a dict of plain values and nothing else, read without running what they ask for.

A pickle is a program (https://docs.python.org/3/library/pickle.html) whose only way to anything of this process are the
globals it names. It gets stand-ins for the few that an array of objects needs, and is refused for any other.
"""

import io
import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from typing import Any

_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
# NumPy's names of numbers, as `struct` has them; its own integers and reals come so.
_NUMBERS = {"b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
            "f2": "e", "f4": "f", "f8": "d"}  # fmt: skip

# Objects, and text of so many characters; the flags that NumPy gives such types, and numbers (`numpy.dtype.flags`).
_NAMED = re.compile(r"O[48]?|U\d{1,9}")
_OBJECTS, _PLAIN = (0x3F,), (0, 0x08)
_ORDERS = ("<", ">", "=", "|")

_LARGEST = 2**64

Value = str | int | float | None


class NotPlain(Exception):
    """A pickle that asks for more than plain values, or is none; the message says for what."""


def load_dict(data: bytes) -> dict[str, Value]:
    """The dict of text and numbers that is pickled, alone or as the only object of a NumPy array.

    Raises:
        NotPlain: it holds or names anything else, or is damaged.
    """
    try:
        for opcode, argument, _ in pickletools.genops(data):
            # The memo is an array: a pickle of ten bytes could ask for gigabytes of it.
            if "PUT" in opcode.name and isinstance(argument, int) and argument > len(data):
                raise NotPlain(f"a memo of {argument} entries")
        found = _Unpickler(io.BytesIO(data)).load()
    except NotPlain:
        raise
    # Whatever a damaged pickle makes the unpickler do, it is a damaged pickle.
    except Exception as error:
        raise NotPlain(f"a damaged pickle ({' '.join(str(error).split())})") from error
    if isinstance(found, _Array) and isinstance(found.values, list) and len(found.values) == 1:
        found = found.values[0]
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise NotPlain("it holds no dict of names and values")
    return {_checked_text(name): _checked(value) for name, value in found.items()}


class _Unpickler(pickle.Unpickler):
    """Gives stand-ins, new ones each time, so that nothing that a pickle does to them lasts."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES:
            if name == "ndarray":
                return _Name()
            if name == "_reconstruct":
                return _Maker(_Array)
            if name == "dtype":
                return _Maker(_Dtype)
            if name == "scalar":
                return _Maker(_scalar)
        if (module, name) == ("_codecs", "encode"):
            return _Maker(_latin1)
        raise NotPlain(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise NotPlain("it asks for an object from elsewhere")


class _Name:
    """Something that is only named."""

    __slots__ = ()


class _Maker:
    """What may be called: makes a stand-in of its arguments."""

    __slots__ = ("_make",)

    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise NotPlain(f"it sets {name}")


class _Array:
    """An array of objects: keeps them as a list."""

    __slots__ = ("values",)

    def __init__(self, kind: Any, *described: Any) -> None:
        # How NumPy makes the array that it then fills.
        if not isinstance(kind, _Name) or described not in (((0,), b"b"), ((0,), "b")):
            raise NotPlain("an array that is made as NumPy makes none")
        self.values: Any = []

    def __setstate__(self, state: Any) -> None:
        # version, shape, dtype, order, objects: numpy.ndarray.__reduce__
        version, shape, dtype, _, values = state
        if version not in (0, 1):
            raise NotPlain(f"an array pickled as version {version}, which no NumPy has")
        if not isinstance(shape, tuple) or any(length != 1 for length in shape) or len(values) != 1:
            raise NotPlain(f"an array of shape {shape}, where one object is expected")
        if not isinstance(dtype, _Dtype) or not dtype.of_objects:
            raise NotPlain("an array of something else than objects")
        self.values = values


class _Dtype:
    """A data type: keeps its name and the order of its bytes, and is one that NumPy knows."""

    __slots__ = ("name", "order")

    def __init__(self, name: Any, *others: Any) -> None:
        self.name, self.order = str(name), "<"
        if self.name not in _NUMBERS and not _NAMED.fullmatch(self.name):
            raise NotPlain(f"it holds values of type {self.name[:20]!r}")

    @property
    def of_objects(self) -> bool:
        return self.name.startswith("O")

    def __setstate__(self, state: Any) -> None:
        # version, order, subarray, names, fields, size, alignment, flags: numpy.dtype.__reduce__
        version, order, *structure, _, _, flags = state
        known = version in (3, 4) and order in _ORDERS and structure == [None] * 3
        if not known or flags not in (_OBJECTS if self.of_objects else _PLAIN):
            raise NotPlain(f"it holds values of a type that is no {self.name}")
        self.order = ">" if order == ">" else "<"


def _scalar(dtype: Any, content: Any) -> Any:
    if isinstance(dtype, _Dtype) and isinstance(content, bytes):
        if dtype.name in _NUMBERS:
            return struct.unpack(dtype.order + _NUMBERS[dtype.name], content)[0]
        if dtype.name.startswith("U"):
            return content.decode("utf-32-be" if dtype.order == ">" else "utf-32-le").rstrip("\0")
    raise NotPlain(f"it holds a value of type {getattr(dtype, 'name', dtype)}")


def _latin1(text: Any, encoding: Any = None) -> bytes:
    """Bytes as pickles up to protocol 2 (NumPy's before 1.17) write them."""
    if isinstance(text, str) and encoding == "latin1":
        return text.encode("latin1")
    raise NotPlain(f"it encodes a {type(text).__name__.strip('_').lower()} as {encoding}")


def _checked(value: Any) -> Value:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return _checked_text(value)
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        raise NotPlain("it holds a whole number of more than 64 bits")
    if value is None or isinstance(value, int | float):
        return None if value != value else value
    raise NotPlain(f"it holds a {type(value).__name__.strip('_').lower()} where a text or a number is expected")


def _checked_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotPlain("it holds a text that is none") from error
    return text
