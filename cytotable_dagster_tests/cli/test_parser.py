"""What the command line says of itself: help with examples, what was meant, and what shells complete."""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cytotable_dagster.cli.main import _parser, main
from cytotable_dagster.cli.parser import read
from cytotable_dagster.cli.screen import folded
from cytotable_dagster.core.model.presets import PRESETS


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for part in action.choices.values():
                yield from _commands(part)


COMMANDS = {parser.prog: parser for parser in _commands(_parser())}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_with_examples_that_are_understood(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parser = COMMANDS[name]
    assert parser.description
    assert [action.dest for action in parser._actions if not action.help and action.nargs != "A..."] == []
    head, *examples = re.sub(r"\\\n +", "", parser.epilog or "").splitlines()
    assert head == "examples:" and examples
    for example in examples:
        program, *arguments = shlex.split(re.sub(r" >>? ~.*", "", example))
        assert program == "cytotable-dagster"
        if "--help" not in arguments:
            read(_parser(), arguments)
    longest = max(parser.format_help().splitlines(), key=len)
    assert len(longest) <= 80 or "s3://" in longest, longest


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("convrt a b", "COMMAND 'convrt' is not known; did you mean convert? there are: convert, inspect, "),
        ("dataset ad a b", "did you mean add? there are: add, list, remove, align"),
        ("convert a b --overwrte", "there is no option --overwrte; did you mean --overwrite?"),
        ("convert a b --chunksize=100", "there is no option --chunksize; did you mean --chunk-size?"),
        ("inspect a --zzz", "there is no option --zzz; cytotable-dagster inspect --help shows more"),
        ("convert a b --overwrit", "there is no option --overwrit; did you mean --overwrite?"),
        ("inspect a b", "'b' is one argument too many"),
        ("convert a b --join foo", "'foo' is one argument too many; --join takes no value"),
        ("convert a b --max-threads", "there is no option --max-threads; cytotable-dagster convert --help shows more"),
        ("demo --port web", "--port 'web' is no whole number"),
        ("plate ad", "COMMAND 'ad' is not known; did you mean add? there are: add, list, remove"),
        ("convert a b --names cytotabel", "--names 'cytotabel' is not known; did you mean cytotable? there are: "),
        ("completion csh", "did you mean zsh? there are: bash, zsh, fish"),
    ],
)
def test_what_is_not_understood_is_told_in_one_line_with_what_was_meant(line, told, capsys):
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(line))
    assert caught.value.code == 2
    usage, error = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage: cytotable-dagster")
    assert told in error
    assert "--help shows more" in error


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--targets", "cels"], "no table is called 'cels'; did you mean Cells? there are: Image, Cells, "),
        (["--preset", "cellprofiler_sqlit"], "did you mean cellprofiler_sqlite? there are: "),
        (["--preset", "jump"], "did you mean cellprofiler_sqlite_cpg0016_jump? there are: "),
        (["--cast", "flot=float32"], "did you mean float? there are: "),
    ],
)
def test_names_that_are_not_known_are_told_with_the_one_that_was_meant(options, told, source, tmp_path, capsys):
    assert main(["convert", str(source), str(tmp_path / "out"), *options]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_completion_prints_is_the_shells_own(shell, tmp_path, capsys):
    assert main(["completion", shell]) == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    assert "cytotable-dagster" in script.read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True)


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("cytotable-dagster con", {"convert"}),
        ("cytotable-dagster dataset ", {"add", "list", "remove", "align", "-h", "--help"}),
        ("cytotable-dagster inspect p --chunk-", {"--chunk-size"}),
        ("cytotable-dagster convert p out --names ", {"default", "cytotable"}),
        ("cytotable-dagster convert p out --preset ", {*PRESETS, "lab.toml"}),
    ],
)
def test_shells_complete_commands_options_and_names(line, completed, tmp_path):
    program = Path(sys.executable).with_name("cytotable-dagster")
    if not program.exists():
        pytest.skip("the package is not installed beside this Python")
    (tmp_path / "lab.toml").touch()
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    answer = tmp_path / "answer"
    environment = {**os.environ, **asked, "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    subprocess.run([program], env=environment, cwd=tmp_path, check=True)
    assert {word.strip() for word in answer.read_text().split("\n")} == completed


def test_a_terminal_is_given_lines_that_end_between_words_and_a_pipe_the_whole_line():
    line = "a.sqlite: 1 of 5 rows have no Nuclei, such as ImageNumber 1; see s3://bucket/a/long/address/of/something"
    parts = folded(line, 40)
    assert all(len(part) <= 40 or part.strip().startswith("s3://") for part in parts)
    assert " ".join(part.strip() for part in parts) == line
    assert folded("table  read  written", 40) == ["table  read  written"]
