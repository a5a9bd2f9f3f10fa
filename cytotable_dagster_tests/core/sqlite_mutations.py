"""Ways to damage an SQLite file, each a function of a random generator, the file's bytes and its page size."""

import random
from collections.abc import Callable

Mutation = Callable[[random.Random, bytearray, int], None]


def flip_bits(rng: random.Random, data: bytearray, page_size: int) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_structure(rng: random.Random, data: bytearray, page_size: int) -> None:
    """Bytes where pages keep their structure: file header, page headers, cell pointers, starts of cells."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        start = _page(rng, data, page_size)
        header = start + (100 if start == 0 else 0)
        choice = rng.randrange(4)
        if choice == 0 and start == 0:
            at = rng.randrange(100)
        elif choice <= 1:
            at = header + rng.randrange(12)
        elif choice == 2:
            at = header + rng.randrange(60)
        else:
            pointer = header + 8 + 2 * rng.randrange(8)
            at = start + int.from_bytes(data[pointer : pointer + 2], "big") + rng.randrange(12)
        if at < len(data):
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256), (data[at] + 1) % 256))


def overwrite_page(rng: random.Random, data: bytearray, page_size: int) -> None:
    start = _page(rng, data, page_size)
    filler = rng.choice((bytes(page_size), b"\xff" * page_size, rng.randbytes(page_size)))
    part = rng.choice((page_size, page_size // 2, 64))
    data[start : start + part] = filler[:part]


def swap_pages(rng: random.Random, data: bytearray, page_size: int) -> None:
    a, b = _page(rng, data, page_size), _page(rng, data, page_size)
    data[a : a + page_size], data[b : b + page_size] = data[b : b + page_size], data[a : a + page_size]


def copy_page(rng: random.Random, data: bytearray, page_size: int) -> None:
    a, b = _page(rng, data, page_size), _page(rng, data, page_size)
    data[a : a + page_size] = data[b : b + page_size]


def truncate(rng: random.Random, data: bytearray, page_size: int) -> None:
    size = rng.randrange(len(data))
    del data[size if rng.random() < 0.5 else size // page_size * page_size :]


def redirect_child(rng: random.Random, data: bytearray, page_size: int) -> None:
    """A child pointer of an interior page: to itself, its parent, any page, none, or far outside."""
    interior = [page for page in _pages(data, page_size) if _kind(data, page) == 5]
    if not interior:
        return flip_structure(rng, data, page_size)
    start = rng.choice(interior)
    header = start + (100 if start == 0 else 0)
    cells = int.from_bytes(data[header + 3 : header + 5], "big")
    at = header + 8
    if cells and rng.random() < 0.7:
        pointer = header + 12 + 2 * rng.randrange(cells)
        at = start + int.from_bytes(data[pointer : pointer + 2], "big")
    data[at : at + 4] = _target(rng, data, page_size, start).to_bytes(4, "big")
    return None


def redirect_chain(rng: random.Random, data: bytearray, page_size: int) -> None:
    """The next-page number that an overflow page starts with: a loop, a jump, an end too early or too late."""
    chain = [page for page in _pages(data, page_size)[1:] if _kind(data, page) not in (2, 5, 10, 13)]
    if not chain:
        return flip_structure(rng, data, page_size)
    start = rng.choice(chain)
    data[start : start + 4] = _target(rng, data, page_size, start).to_bytes(4, "big")
    return None


def change_lengths(rng: random.Random, data: bytearray, page_size: int) -> None:
    """The payload length, rowid, record header length or a serial type of a cell."""
    leaves = [page for page in _pages(data, page_size) if _kind(data, page) == 13]
    if not leaves:
        return
    start = rng.choice(leaves)
    header = start + (100 if start == 0 else 0)
    cells = int.from_bytes(data[header + 3 : header + 5], "big")
    if not cells:
        return
    pointer = header + 8 + 2 * rng.randrange(cells)
    at = start + int.from_bytes(data[pointer : pointer + 2], "big") + rng.randrange(6)
    value = rng.choice((b"\xff" * 9, b"\x80\x80", b"\x00", b"\x01", b"\xff\xff\x7f", b"\x8f\xff\xff\xff\x7f", b"\x7f"))
    data[at : at + len(value)] = value
    return


def change_counts(rng: random.Random, data: bytearray, page_size: int) -> None:
    """The number of cells of a page, one more, one less, or doubled pointers."""
    start = _page(rng, data, page_size)
    header = start + (100 if start == 0 else 0)
    cells = int.from_bytes(data[header + 3 : header + 5], "big")
    choice = rng.randrange(3)
    if choice < 2:
        data[header + 3 : header + 5] = ((cells + (1 if choice else -1)) % 2**16).to_bytes(2, "big")
    elif cells > 1:
        data[header + 8 : header + 10] = data[header + 10 : header + 12]


def several(rng: random.Random, data: bytearray, page_size: int) -> None:
    for _ in range(rng.randint(2, 5)):
        if len(data) > page_size:
            rng.choice(MUTATIONS[:-1])(rng, data, page_size)


# Those that put a whole page where another belongs.
EXCHANGES = (swap_pages, copy_page, redirect_child)
MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    flip_structure,
    overwrite_page,
    swap_pages,
    copy_page,
    truncate,
    redirect_child,
    redirect_chain,
    change_lengths,
    change_counts,
    several,
)


def _pages(data: bytearray, page_size: int) -> list[int]:
    return list(range(0, len(data) - page_size + 1, page_size)) or [0]


def _page(rng: random.Random, data: bytearray, page_size: int) -> int:
    return rng.choice(_pages(data, page_size))


def _kind(data: bytearray, start: int) -> int:
    return data[start + (100 if start == 0 else 0)]


def _target(rng: random.Random, data: bytearray, page_size: int, start: int) -> int:
    pages = len(data) // page_size
    own = start // page_size + 1
    return rng.choice((own, max(own - 1, 1), 1, 0, rng.randint(1, pages), rng.randint(1, pages), pages + 1, 2**32 - 1))
