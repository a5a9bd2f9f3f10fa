"""Image sets (all channels of one site) with their cells, read a few ahead of who asks for them."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from cytotable_dagster.core.images.cells import ROW
from cytotable_dagster.core.images.cutting import ImageSet, read_set, runs
from cytotable_dagster.core.images.files import File, Key
from cytotable_dagster.core.images.pixels import Opener
from cytotable_dagster.core.support.cores import cores

if TYPE_CHECKING:
    import pyarrow as pa

# Of an image's key, the files of its channels and of its segmentations, in the order of their names.
FilesOf = Callable[[Key], "tuple[Sequence[File | None], Sequence[File | None]]"]


def image_sets(
    cells: "pa.Table",
    keys: Sequence[str],
    files_of: FilesOf,
    names: tuple[Sequence[str], Sequence[str]],
    open_: Opener,
    without: "frozenset[int]" = frozenset(),
) -> "Iterator[tuple[pa.Table, ImageSet, tuple[int, int]]]":
    """The cells of each image with its pixels, and where those cells are.

    Args:
        cells: by image.
        keys: columns of the image's key.
        names: of channels and segmentations.
        without: images all of whose cells are in these `row`s.
    """
    threads = cores()
    waiting: deque[tuple[pa.Table, Future[ImageSet], tuple[int, int]]] = deque()
    columns = [cells[name] for name in keys]
    with ThreadPoolExecutor(threads, thread_name_prefix="crops") as pool:
        try:
            for start, end in runs(columns, cells.num_rows):
                own = cells.slice(start, end - start)
                if without and without.issuperset(own[ROW].to_pylist()):
                    continue
                files, others = files_of(tuple(column[start].as_py() for column in columns))
                waiting.append((own, pool.submit(read_set, files, others, *names, open_), (start, end)))
                if len(waiting) > threads:
                    ready, future, where = waiting.popleft()
                    yield ready, future.result(), where
            while waiting:
                ready, future, where = waiting.popleft()
                yield ready, future.result(), where
        finally:
            pool.shutdown(cancel_futures=True)
