"""Files appear whole or not at all, with the rights that the user's mask gives, and leave nothing beside them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cytotable_dagster.core.errors import UnsafeNameError
from cytotable_dagster.core.support.files import inside, read_packed, scratch_folder, size_of, whole_file, write_packed
from cytotable_dagster.core.support.publication import publish
from cytotable_dagster_tests.core.conftest import names_in


@pytest.fixture
def private_mask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_a_file_appears_when_it_is_whole(tmp_path):
    with whole_file(tmp_path / "new" / "x.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "new" / "x.txt").exists()
        assert temporary.parent == tmp_path / "new"
    assert (tmp_path / "new" / "x.txt").read_text() == "whole"
    assert names_in(tmp_path / "new") == ["x.txt"]


def test_what_fails_leaves_the_file_that_was_there_and_nothing_beside_it(tmp_path):
    (tmp_path / "x.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "x.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "x.txt").read_text() == "old"
    assert names_in(tmp_path) == ["x.txt"]


def test_files_have_the_rights_of_the_users_mask_and_threads_do_not_change_it(tmp_path, private_mask):
    def write(number: int) -> None:
        with whole_file(tmp_path / f"{number}") as temporary:
            temporary.write_text("x")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(300)))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert os.umask(0o077) == 0o077


def test_a_scratch_folder_and_the_folders_made_for_it_are_gone_where_nothing_came_of_it(tmp_path):
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path / "a" / "b" / "out") as scratch:
        (scratch / "x").write_text("half")
        raise ZeroDivisionError
    assert names_in(tmp_path) == []


def test_folders_made_for_a_result_stay_with_it(tmp_path):
    with scratch_folder(tmp_path / "a" / "out") as scratch:
        (scratch / "x").write_text("whole")
        (tmp_path / "a" / "out").mkdir()
        (scratch / "x").rename(tmp_path / "a" / "out" / "x")
    assert names_in(tmp_path) == ["a", "a/out", "a/out/x"]


def test_intermediate_files_of_a_folder_that_exists_lie_in_it(tmp_path):
    (tmp_path / "out").mkdir()
    with scratch_folder(tmp_path / "out") as scratch:
        assert scratch.parent == tmp_path / "out"
    assert names_in(tmp_path) == ["out"]


def _file(path: Path, text: str) -> None:
    path.write_text(text)


def _folder(path: Path, text: str) -> None:
    path.mkdir()
    (path / "part").write_text(text)


@pytest.mark.parametrize("old", [_file, _folder, None])
@pytest.mark.parametrize("new", [_file, _folder])
def test_a_result_replaces_whatever_was_there(tmp_path, old, new):
    (tmp_path / "scratch").mkdir()
    if old is not None:
        old(tmp_path / "result", "old")
    new(tmp_path / "scratch" / "result", "new")
    publish(tmp_path / "scratch", tmp_path, overwrite=True)
    text = tmp_path / "result" / "part" if new is _folder else tmp_path / "result"
    assert text.read_text() == "new"
    assert size_of(tmp_path / "result") == 3


@pytest.mark.parametrize("name", ["x", "a/b/x.sqlite", "a//b", "größe 100 %/x", "...", "a/..b", ".x", "x/", "n" * 220])
def test_a_name_from_elsewhere_is_a_path_in_its_folder(tmp_path, name):
    path = inside(tmp_path, name)
    assert tmp_path in path.parents
    assert path.resolve() == path


@pytest.mark.parametrize(
    "name",
    ["", "/", "..", ".", "../x", "a/../../x", "a/./x", "/etc/x", "//x", "a\\..\\x", "C:/x", "c:x", "a\0b", "n" * 221],
)
def test_a_name_that_would_lie_elsewhere_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(UnsafeNameError) as caught:
        inside(tmp_path, name)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


def test_a_packed_text_is_read_as_it_was_or_not_at_all(tmp_path):
    path, text = tmp_path / "text.zst", "".join(f"Cells_Texture_{number} µ," for number in range(5000))
    write_packed(path, text)
    packed = path.read_bytes()
    assert read_packed(path).decode() == text and len(packed) < len(text) / 5
    for damaged in (packed[: len(packed) // 2], b"{}", packed[:20] + b"\xff" * 20 + packed[40:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"text\.zst"):
            read_packed(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_packed(path)
