"""Compiled code: made once, kept where nobody else can put any, and done without where it cannot be kept."""

import ast
import functools
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from cytotable_dagster.core.environment import KERNEL_CACHE
from cytotable_dagster.core.kernels import loading as compiled
from cytotable_dagster.core.kernels.code_cache import Folder, folders, kept, turn
from cytotable_dagster.core.parquet.footer import value_end
from cytotable_dagster.core.parquet.thrift import BINARY

NAME = "kernels-1.o"
# Counts bytes by a kernel; whether numba was imported for it.
USE = (
    "import sys; import numpy as np; from cytotable_dagster.core.kernels import loading as compiled\n"
    "compiled.load_all(); print('numba' in sys.modules, compiled.kept_in())"
)


@pytest.fixture
def only_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No folder but the temporary one can be written to, not even by root: a file stands where HOME would be."""
    (tmp_path / "home").touch()
    for name in (KERNEL_CACHE, "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "0")
    return tmp_path / f"cytotable_dagster-{os.geteuid()}"


def test_two_processes_compile_once_and_say_so_where_home_cannot_be_written(only_temporary: Path):
    start = [sys.executable, "-c", USE]
    both = [subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(list(only_temporary.glob("*.o"))) == len(compiled.UNITS)
    # Neither loads numba: who compiles is a process of its own.
    assert {out.strip() for out, _ in said} == {f"False {only_temporary}"}
    lines = [line for _, err in said for line in err.splitlines()]
    assert [line for line in lines if line.startswith("compiling")] == [
        f"compiling the readers, once on this machine, about 5 s (kept in {only_temporary})"
    ]
    assert only_temporary.stat().st_mode & 0o777 == 0o700
    later = subprocess.run(start, capture_output=True, text=True, check=True)
    assert (later.stdout, later.stderr) == (said[0][0], "")
    # Another folder is asked first, though this one has the code.
    elsewhere = {**os.environ, KERNEL_CACHE: str(only_temporary.parent / "image")}
    assert subprocess.run(start, capture_output=True, text=True, check=True, env=elsewhere).stdout == later.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_that_the_system_does_not_know_keeps_code_in_the_temporary_folder(tmp_path: Path):
    code = (
        "import os; from cytotable_dagster.core.kernels.code_cache import folders; os.setuid(54321)\n"
        "print([str(f.path) for f in folders()])"
    )
    start = [sys.executable, "-c", code]
    done = subprocess.run(start, env={"TMPDIR": "/tmp"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['/tmp/cytotable_dagster-54321']"


def test_code_is_kept_in_the_first_folder_that_can_be_written(only_temporary: Path, monkeypatch):
    monkeypatch.setenv(KERNEL_CACHE, str(only_temporary.parent / "home" / "below"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(only_temporary.parent / "numba"))
    with turn() as folder:
        assert folder is not None
        assert folder.path == only_temporary.parent / "numba" / "cytotable_dagster"
        assert folder.keep(NAME, b"code")
    assert kept(NAME) == b"code"
    assert folders()[0].path == only_temporary.parent / "home" / "below"


def test_all_code_is_kept_for_a_wheel_that_carries_it(tmp_path: Path):
    compiled.keep_in(tmp_path / "made" / "here")
    files = {file.name: Folder(file.parent).code(file.name) for file in (tmp_path / "made" / "here").iterdir()}
    assert sorted(name.split("-")[1] for name in files) == sorted(compiled.UNITS)
    assert all(code == kept(name) for name, code in files.items())
    with pytest.raises(OSError, match="the readers cannot be kept in"):
        compiled.keep_in(Path(os.devnull) / "below")


def test_code_that_is_damaged_is_not_loaded(tmp_path: Path):
    folder = Folder(tmp_path)
    assert folder.code(NAME) is None
    assert folder.keep(NAME, b"code")
    file = tmp_path / NAME
    file.write_bytes(file.read_bytes()[:-1])
    assert folder.code(NAME) is None


def test_what_a_killed_process_left_is_written_over(tmp_path: Path):
    (tmp_path / f".{NAME}.tmp").write_bytes(b"half of it")
    assert Folder(tmp_path).keep(NAME, b"code")
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path):
    (tmp_path / "file").touch()
    folder = Folder(tmp_path / "file")
    assert not folder.can_be_written()
    assert not folder.keep(NAME, b"code")
    assert folder.code(NAME) is None


@pytest.mark.parametrize("mode", [0o770, 0o701, 0o777])
def test_a_folder_among_others_is_used_only_where_it_is_closed_to_them(tmp_path: Path, mode: int):
    folder = Folder(tmp_path / "shared", shared=True)
    assert folder.can_be_written()
    assert folder.keep(NAME, b"code")
    assert folder.code(NAME) == b"code"
    folder.path.chmod(mode)
    assert folder.code(NAME) is None
    assert not folder.can_be_written()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_among_others_is_not_used_where_it_is_somebody_elses(tmp_path: Path):
    folder = Folder(tmp_path / "shared", shared=True)
    assert folder.can_be_written()
    assert folder.keep(NAME, b"code")
    os.chown(folder.path, 54321, 54321)
    assert folder.code(NAME) is None
    assert not folder.can_be_written()


def test_code_that_anybody_may_write_is_not_loaded(tmp_path: Path):
    folder = Folder(tmp_path)
    folder.keep(NAME, b"code")
    (tmp_path / NAME).chmod(0o666)
    assert folder.code(NAME) is None
    (tmp_path / NAME).chmod(0o644)
    assert folder.code(NAME) == b"code"
    tmp_path.chmod(0o777)
    assert folder.code(NAME) is None


def test_who_comes_second_waits_and_says_so(only_temporary: Path, monkeypatch):
    taken, waiting = threading.Event(), threading.Event()
    said: list[str] = []

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            waiting.set()

    def first() -> None:
        with turn() as folder:
            assert folder is not None
            taken.set()
            assert waiting.wait(60)
            folder.keep(NAME, b"code")

    monkeypatch.setattr(logging.getLogger("cytotable_dagster"), "handlers", [Heard()])
    thread = threading.Thread(target=first)
    thread.start()
    assert taken.wait(60)
    with turn() as folder:
        assert folder is not None
        assert folder.code(NAME) == b"code"
    thread.join()
    assert said == ["waiting for another process that compiles the readers"]


FAULTS = {
    "needs a library": "code needs",
    "is called otherwise": "another_name",
    "is asked for by an unknown option": "Unrecognized options",
    "is made by other calls": "create_pass_builder",
    "lacks functions": "has no function encode_columns",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_code_that_cannot_stand_alone_is_loaded_by_numba(only_temporary: Path, monkeypatch, caplog, fault):
    from cytotable_dagster.core.kernels import entry as kernels
    from cytotable_dagster.core.kernels import lowered

    real = lowered.compiler
    # No process of its own can be started, so that this one compiles.
    monkeypatch.setattr(sys, "executable", str(only_temporary.parent / "no python"))
    if fault == "needs a library":
        # What is not looked for here; the kernel that is used is another one.
        monkeypatch.setitem(kernels.KERNELS, "lay_out", lambda job: int(math.erf(job)))
    elif fault == "is called otherwise":
        named = SimpleNamespace(llvm_func_name="another_name")

        def renamed(*arguments, **options):
            def compiled_by(function):
                (one,) = real(*arguments, **options)(function).overloads.values()
                return SimpleNamespace(overloads={(): SimpleNamespace(library=one.library, fndesc=named)})

            return compiled_by

        monkeypatch.setattr(lowered, "compiler", renamed)
    elif fault == "is asked for by an unknown option":
        monkeypatch.setattr(lowered, "compiler", functools.partial(real, _of_another_version=True))
    elif fault == "lacks functions":
        whole = kernels.machine_code
        monkeypatch.setattr(kernels, "machine_code", lambda target, names: whole(target, names[:-1]))
    elif fault == "is made by other calls":
        known = {name: value for name, value in vars(kernels.llvm).items() if name != "create_pass_builder"}
        monkeypatch.setattr(kernels, "llvm", SimpleNamespace(**known))
    monkeypatch.setattr(compiled, "_loaded", {})
    assert value_end(b"..\x03abc", 2, BINARY) == 6
    # What does not compile is not kept, so that the next process tries again.
    assert bool(list(only_temporary.glob("*.o"))) == (fault == "lacks functions")
    assert FAULTS[fault] in caplog.messages[-1]
    assert caplog.messages[-1].startswith("compiling the readers for this process alone")


def _imported(module: str) -> set[str]:
    """The modules of the room that one imports, and those that these import, and itself."""
    room = "cytotable_dagster.core.kernels."
    tree = ast.parse((Path(compiled.__file__).parent / f"{module}.py").read_text())
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    inner = {name.removeprefix(room) for name in names if name.startswith(room)}
    return {module}.union(*map(_imported, inner))


def test_code_is_made_anew_when_any_module_that_it_is_made_of_changes(tmp_path: Path, monkeypatch):
    from cytotable_dagster.core.kernels import entry as kernels

    assert {path.stem for path in compiled._SOURCES} == _imported("entry")
    assert sorted(name for names in compiled.UNITS.values() for name in names) == sorted(kernels.KERNELS)
    copies = [Path(shutil.copy(path, tmp_path)) for path in compiled._SOURCES]
    monkeypatch.setattr(compiled, "_SOURCES", copies)
    seen = {compiled._fingerprint("a processor"), compiled._fingerprint("another")}
    for path in copies:
        path.write_text(path.read_text() + "# changed\n")
        seen.add(compiled._fingerprint("a processor"))
    assert len(seen) == 2 + len(copies)


def _called(node: ast.AST) -> str:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def test_helpers_are_compiled_for_one_kind_of_number():
    trees = [ast.parse(path.read_text()) for path in compiled._SOURCES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    helpers = {
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(d, ast.Name) and d.id == "helper" for d in node.decorator_list)
    }
    # Numbers that Python writes: numba takes each for a type of its own.
    layout = {
        name.id
        for path, tree in zip(compiled._SOURCES, trees, strict=True)
        if path.stem.endswith("layout")
        for name in ast.walk(tree)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }
    calls = [node for node in nodes if _called(node) in helpers]
    written = {
        f"{_called(call)}({ast.unparse(argument)})"
        for call in calls
        for argument in call.args
        if isinstance(argument, ast.Constant) or (isinstance(argument, ast.Name) and argument.id in layout)
    }
    assert len(calls) > 50
    assert written == set()
