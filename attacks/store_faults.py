"""What a store can do to an answer; each fault is drawn from a seed, for some of the answers or for all."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from cytotable_dagster_tests.stores.between import Answer, Between, refusal

Change = Callable[[Answer], None]

_STATUSES = (
    *(
        (500, "InternalError"),
        (503, "SlowDown"),
        (403, "AccessDenied"),
        (404, "NoSuchKey"),
        (412, "PreconditionFailed"),
    ),
    *((416, "InvalidRange"), (307, "TemporaryRedirect"), (301, "PermanentRedirect"), (400, "Nothing\nof the kind")),
    *((200, "InternalError"), (304, "NotModified"), (429, "TooManyRequests"), (206, "Odd"), (599, "")),
)
_KEYS = (
    "../../evil",
    "/evil",
    "a/../../../evil",
    "{0}/../../../evil",
    "{0}/..\\evil",
    "{0}/x&#10;y",
    "{0}/" + "n" * 300,
    "",
)


@dataclass(frozen=True)
class Fault:
    """What is done to answers; `operations` are those that it is done to."""

    name: str
    operations: tuple[str, ...]
    change: Change | None = None
    held: bool = False


def fault_of(chance: random.Random, operations: list[str], replace: Callable[[], None]) -> Fault:
    """One fault for one or two kinds of requests, `replace` being what puts another object in the place of it."""
    chosen = tuple(chance.sample(operations, chance.choice([1, 1, 2, len(operations)])))
    name = chance.choice([*_CHANGES, "status", "status", "status", "hold", "replaced", "keys"])
    if name == "hold":
        return Fault(name, chosen, held=True)
    if name == "status":
        status, code = chance.choice(_STATUSES)
        change, name = _refusing(status, code), f"status {status} {code}"
    elif name == "replaced":
        change = lambda answer: replace()  # noqa: E731
    elif name == "keys":
        chosen = ("ListObjects",)
        change = _listing(chance.choice(_KEYS))
    else:
        change = _CHANGES[name](chance)
    first, last = chance.choice([(0, 1), (0, 2), (1, 2), (2, 5), (0, 1 << 30), (0, 1 << 30), (1, 1 << 30)])
    told = f"{name} of {', '.join(chosen)} {first} to {last if last < 1 << 30 else 'the end'}"
    return Fault(told, chosen, lambda answer: change(answer) if first <= answer.number < last else None)


def apply(fault: Fault, passing: Between) -> None:
    """Have the store do it from now on."""
    passing.clear()
    for operation in fault.operations:
        if fault.held:
            passing.held[operation] = 0
        elif fault.change:
            passing.altered[operation] = fault.change


def _refusing(status: int, code: str) -> Change:
    def change(answer: Answer) -> None:
        answer.status, answer.headers = status, {"Content-Type": "application/xml"}
        answer.content = refusal(code, answer.path)[1]
        if status in (301, 307):
            answer.headers["Location"] = answer.path

    return change


def _listing(key: str) -> Change:
    """A listing in which one key is another."""

    def change(answer: Answer) -> None:
        content = answer.content.decode()
        found = re.search("<Key>([^<]*)/([^/<]*)</Key>", content)
        if found:
            content = content.replace(found[0], f"<Key>{key.format(found[1])}{found[2] if key else ''}</Key>", 1)
        answer.content = content.encode()

    return change


def _flip(chance: random.Random) -> Change:
    place, bit = chance.random(), 1 << chance.randrange(8)

    def change(answer: Answer) -> None:
        if answer.content:
            content = bytearray(answer.content)
            content[int(place * len(content))] ^= bit
            answer.content = bytes(content)

    return change


def _resized(chance: random.Random) -> Change:
    share = chance.choice([0.0, 0.5, 0.999, 1.5])

    def change(answer: Answer) -> None:
        size = int(share * len(answer.content))
        answer.content = answer.content[:size].ljust(size, b"x")

    return change


def _broken(chance: random.Random) -> Change:
    place, then = chance.random(), chance.choice(["reset", "reset", "short", "short", "stall", "drip"])

    def change(answer: Answer) -> None:
        answer.cut, answer.then = int(place * len(answer.content)), then

    return change


def _header(chance: random.Random) -> Change:
    name = chance.choice(["Etag", "Etag", "Content-Length", "Content-Range", "Last-Modified"])
    value = chance.choice(
        [None, "", '"0"', '"0123456789abcdef0123456789abcdef"', "-1", "9" * 30, "bytes 0-1/2", "x\ty"]
    )

    def change(answer: Answer) -> None:
        answer.headers.pop(name, None)
        if value is not None:
            answer.headers[name] = value

    return change


def _heedless(chance: random.Random) -> Change:
    """The range that was asked for is told to be another, or to be all."""

    def change(answer: Answer) -> None:
        if answer.status == 206:
            answer.status = 200
            answer.headers.pop("Content-Range", None)

    return change


def _garbage(chance: random.Random) -> Change:
    garbage = chance.choice([b"", b"<", b"<html>sign in</html>", bytes(100), b"<?xml version='1.0'?><a><b></a>", b"{}"])

    def change(answer: Answer) -> None:
        answer.content = garbage

    return change


def _circles(chance: random.Random) -> Change:
    token = chance.choice(["same", "{}"])

    def change(answer: Answer) -> None:
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
        listed = answer.content.replace(b"<IsTruncated>false</IsTruncated>", more.format(answer.number).encode())
        answer.content = listed

    return change


_CHANGES: dict[str, Callable[[random.Random], Change]] = {
    "flip": _flip,
    "resized": _resized,
    "broken": _broken,
    "header": _header,
    "range": _heedless,
    "garbage": _garbage,
    "circles": _circles,
}
