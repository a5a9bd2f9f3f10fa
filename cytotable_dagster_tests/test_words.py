"""Messages name parameters of the library; the shell and Dagster say them in words of their own, every one of them."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cytotable_dagster
from cytotable_dagster import datasets
from cytotable_dagster.cli.main import _parser, main
from cytotable_dagster.cli.parser import read
from cytotable_dagster.core import images
from cytotable_dagster.core.support.parameters import parameters_in
from cytotable_dagster.defs.words import in_dagster

CORE = Path(cytotable_dagster.__file__).parent / "core"
FUNCTIONS = (
    *(cytotable_dagster.convert, cytotable_dagster.crops, datasets.add, datasets.align),
    *(images.contact_sheet, images.find_provenance, images.save_crops),
)
STORE = {"aws_access_key_id", "cache_limit", "endpoint_url", "local_cache_dir", "no_sign_request", "profile_name"}
PARAMETERS = STORE | {name for function in FUNCTIONS for name in inspect.signature(function).parameters}
COMMANDS = (["convert", "a", "b"], ["dataset", "add", "a", "b"], ["inspect", "a"], ["crops", "a", "--out", "a.png"])


def _messages() -> Iterator[tuple[str, str]]:
    """Every text of more than a word that the converter has, but for what documents it, and where it is."""
    for path in CORE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                # What is filled in is a value as good as any.
                text = "".join(part.value if isinstance(part, ast.Constant) else "12" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told | parts:
                text = node.value
            else:
                continue
            if " " in text:
                yield f"{path.relative_to(CORE)}:{node.lineno}", text


MESSAGES = [(where, text) for where, text in _messages() if {name for name, _ in parameters_in(text)} & PARAMETERS]


def _in_shell(command: list[str]) -> Callable[[str], str]:
    said: Callable[[str], str] = read(_parser(), command).told
    return said


def _left(text: str) -> list[str]:
    """Parameters that a door left as they were, without saying whose they are."""
    text = re.sub(r"\S+ of (the library|a preset)", "", text)
    return [name for name, _ in parameters_in(text) if name in PARAMETERS]


def test_the_converter_has_messages_that_name_parameters_and_none_of_the_shell_or_of_dagster():
    assert len(MESSAGES) > 40
    foreign = re.compile(r"--[a-z]|materializ|(?<!cytotable[-_])[Dd]agster|CYTOTABLE_(?!KERNEL_CACHE|ARROW_)")
    assert [found for found in _messages() if foreign.search(found[1])] == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_shell_says_every_parameter_as_an_option_or_argument(command):
    said = _in_shell(command)
    assert {where: said(text) for where, text in MESSAGES if _left(said(text))} == {}


def test_dagster_says_every_parameter_as_a_setting():
    assert {where: in_dagster(text) for where, text in MESSAGES if _left(in_dagster(text))} == {}
    read_there = "".join(path.read_text() for path in CORE.parent.joinpath("defs").glob("*.py") if path.stem != "words")
    named = {name for _, text in MESSAGES for name in re.findall(r"CYTOTABLE_\w+", in_dagster(text))}
    assert {
        name for name in named if f'"{name}"' not in read_there and not name.startswith("CYTOTABLE_KERNEL")
    } == set()


@pytest.mark.parametrize(
    ("message", "shell", "dagster"),
    [
        ("pass overwrite=True to", "pass --overwrite to", "pass overwrite=True of the library to"),
        ("leave out concat=False", "leave out --no-concat", "leave out concat=False of the library"),
        ("or another dest_path", "or another DEST", "or another CYTOTABLE_LAKE"),
        ("pass equal_sites='keep' where", "pass --equal-sites keep where", "pass CYTOTABLE_EQUAL_SITES=keep where"),
        ('targets=["experiment"] takes', "--targets experiment takes", 'targets=["experiment"] of the library takes'),
        ('compartments=["A", "B b"]', "--compartments 'A,B b'", 'compartments=["A", "B b"] of a preset'),
        ("(profile_name=... or", "(--profile-name ... or", "(AWS_PROFILE=... or"),
        ("pass no_sign_request=True", "pass --no-sign-request", "pass CYTOTABLE_NO_SIGN_REQUEST=1"),
        ("(aws_access_key_id=..., x)", "(AWS_ACCESS_KEY_ID, x)", "(AWS_ACCESS_KEY_ID=..., x)"),
        ("use another preset=, none", "use another --preset, none", "use another CYTOTABLE_PRESET, none"),
        # What users call their files, tables and columns is no parameter.
        *((text, text, text) for text in (
            "/data/overwrite=True/preset=x/a.sqlite: empty", "s3://b/join=True: none", "table 'image_dir'",
            "preset=x.csv: empty", "dest_path.csv: empty", "a column where", "image_dir/a.csv", "x_dest_path",
        )),
    ],
)  # fmt: skip
def test_messages_in_the_words_of_each_door(message, shell, dagster):
    assert _in_shell(["convert", "a", "b"])(message) == shell
    assert in_dagster(message) == dagster


@pytest.mark.parametrize(
    ("command", "said"),
    [(COMMANDS[0], "DEST"), (COMMANDS[1], "DATASET"), (COMMANDS[3], "--out"), (["provenance", "a"], "--dest")],
)
def test_a_destination_is_what_the_command_calls_it(command, said):
    assert _in_shell(command)("exists; name another dest_path") == f"exists; name another {said}"


def test_a_switch_of_another_command_is_said_without_a_value():
    assert _in_shell(COMMANDS[3])("convert with provenance=True") == "convert with --provenance"


def test_a_plate_may_be_called_as_a_parameter_is():
    assert _in_shell(["provenance", "a"])("plate single_cells: 1 image") == "plate single_cells: 1 image"


def test_errors_of_the_shell_are_in_its_words(tmp_path, capsys):
    (tmp_path / "Cells.csv").write_text("ImageNumber,ObjectNumber\n1,1\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Cells.parquet").touch()
    given = (
        (["convert", str(tmp_path / "Cells.csv"), str(tmp_path / "out")], "--overwrite to replace it, or another DEST"),
        (["convert", str(tmp_path), str(tmp_path / "a"), "--chunk-size", "-5"], "--chunk-size -5 is no number"),
    )
    for command, told in given:
        assert main(command) == 1
        assert told in capsys.readouterr().err
