"""How a command line is read: what is not understood is one line that says what was meant, and where help is."""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from cytotable_dagster.cli.screen import say
from cytotable_dagster.cli.words import in_shell
from cytotable_dagster.core.support.suggestions import nearest, there_are

# As argparse words it, with or without quotes around the choices.
_CHOICE = re.compile(r"argument (?P<argument>.*): invalid choice: '(?P<word>.*)' \(choose from (?P<known>.*)\)")
_NUMBER = re.compile(r"argument (?P<argument>.*): invalid int value: (?P<word>.*)")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Room for most options beside what they do."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)


class Parser(argparse.ArgumentParser):
    """A command's parser. Usage is given in one line, since that of forty options helps nobody; an option is written
    whole, for what begins one option today may begin two tomorrow."""

    def __init__(self, **given: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **given)

    def error(self, message: str) -> NoReturn:
        found = _CHOICE.fullmatch(message)
        if found is not None:
            known = [name.strip("'") for name in found["known"].split(", ")]
            message = f"{found['argument']} {found['word']!r} is not known; {there_are(found['word'], known)}"
        elif found := _NUMBER.fullmatch(message):
            message = f"{found['argument']} {found['word']} is no whole number"
        say(f"{self.format_usage()}{self.prog}: {message}; {self.prog} --help shows more", sys.stderr)
        self.exit(2)

    def refuse(self, unknown: Sequence[str], line: Sequence[str]) -> NoReturn:
        """End with what of a command line no argument of this command takes."""
        word = unknown[0]
        option = word.partition("=")[0]
        if not option.startswith("-"):
            before = line[line.index(word) - 1] if word in line[1:] else ""
            flag = self._option_string_actions.get(before)
            after = f"; {before} takes no value" if flag is not None and flag.nargs == 0 else ""
            self.error(f"{word!r} is one argument too many{after}")
        # Without the dashes, which all options have alike.
        meant = nearest(
            option.lstrip("-"), (name.lstrip("-") for name in self._option_string_actions if name[:2] == "--")
        )
        self.error(f"there is no option {option}{f'; did you mean --{meant}?' if meant else ''}")


def command(
    among: Any,
    name: str,
    run: Callable[[argparse.Namespace], None] | None,
    text: str,
    usage: str = "",
    examples: Sequence[str] = (),
) -> Parser:
    """A command among others: what it runs, what it does, its arguments in short, and how it is used."""
    parser: Parser = among.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        usage=f"%(prog)s {usage}".rstrip(),
        epilog="\n".join(("examples:", *(f"  cytotable-dagster {example}" for example in examples))),
    )
    if run is not None:
        parser.set_defaults(run=run, parser=parser)
    return parser


def read(parser: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was chosen, with `told`, which says messages in the words of the command; ends the process with status 2
    where it is not understood."""
    chosen, unknown = parser.parse_known_args(arguments)
    command = vars(chosen).pop("parser")
    if unknown:
        command.refuse(unknown, sys.argv[1:] if arguments is None else arguments)
    among = [action.choices for action in parser._actions if isinstance(action.choices, Mapping)]
    commands = [command, *(other for choices in among for other in choices.values())]
    chosen.told = lambda message: in_shell(str(message), commands)
    return chosen


class Names(argparse.Action):
    """Names that are given as `A,B`, or by one option for each."""

    def __call__(
        self, parser: argparse.ArgumentParser, chosen: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        before = getattr(chosen, self.dest) or []
        setattr(chosen, self.dest, [*before, *(name.strip() for name in values.split(",") if name.strip())])


def pair(text: str) -> tuple[str, str]:
    """`A=B`."""
    left, found, right = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: write it with an equals sign, e.g. float=float32")
    return left, right
