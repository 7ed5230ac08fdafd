"""The command line: parse, run, and turn errors into one line. `--help` imports no torch."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tailcut.cli.interrupts import INTERRUPTED, MESSAGE, is_interrupt, leaving_at_once
from tailcut.cli.lab_options import Claimed, Demo, Engine, Gridded, Probing, Training
from tailcut.cli.options import Audited, Cutting, Inputs, Run
from tailcut.cli.preprocessing import Preprocessing, Saving
from tailcut.cli.words import data_epilog, model_forms, readouts_epilog
from tailcut.errors import TailcutError, TailcutWarning, out_of_memory

_NO_PLACE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EFBIG,
    errno.EIO,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""What the system says of a place that cannot be written to: no fault of ours."""


@dataclass(frozen=True)
class Command:
    """A command: the function in `tailcut.cli.commands` that does it, and what it takes.

    Attributes:
        does: For the help.
        groups: Dataclasses whose fields are its options.
        positional: A word that stands without a dash, and its help.
    """

    does: str
    groups: tuple[type, ...]
    positional: tuple[str, Callable[[], str]] | None = None


_EPILOGS = {Inputs: data_epilog, Cutting: readouts_epilog}
"""What the help says at its end of words that the options of a dataclass take."""

SWITCHES = {
    "augment": "Flip and crop the images while training.",
    "force": "Go on although the network does not predict its training labels.",
    "json": "Print the result as JSON.",
    "quiet": "Print nothing but errors.",
    "repair": "Also repair the last state, by the noisy holdout.",
}
"""Options without a value, and their help."""

COMMANDS = {
    "demo": Command(
        "Train a small network on embedded images with wrong labels, repair it, and report.",
        (Demo, Run),
    ),
    "diagnose": Command(
        "Look at a network: spectrum, memorisation, noise, and whether a cut would help.",
        (Inputs, Preprocessing, Cutting, Run),
        ("model", model_forms),
    ),
    "repair": Command(
        "Cut memorised label noise out of a trained network.",
        (Inputs, Preprocessing, Cutting, Saving, Run),
        ("model", model_forms),
    ),
    "audit": Command(
        "Find wrong labels in the training data.",
        (Inputs, Preprocessing, Audited, Run),
        ("model", model_forms),
    ),
    "report": Command(
        "Write report.html again from the result.json of a run.",
        (Run,),
        ("directory", lambda: "the run's directory"),
    ),
}

LAB_COMMANDS = {
    "train": Command("Train a network on noisy labels, to interpolation.", (Training, Run)),
    "probe": Command(
        "Train a network on noisy labels and probe its spectrum on the way; goes on in --out.",
        (Training, Probing, Run),
    ),
    "claims": Command(
        "Test every claim of the theory on a preset of trainings, and write one page.",
        (Claimed, Engine, Run),
    ),
    "grid": Command(
        "Run every combination of some axes, on this machine or on Ray; goes on in --out.",
        (Gridded, Engine, Run),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0: done, whatever the verdict. 2: the input cannot be used, which one line says. 1: a fault
    of ours, with its traceback. 130: interrupted.
    """
    _open_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough, as in tailcut ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if is_interrupt(error):
            sys.stderr.write(MESSAGE)
            return INTERRUPTED
        text = _message(error, words)
        if text is None:
            raise
        sys.stderr.write(f"tailcut: error: {' '.join(text.split())}\n")
        return 2


def _message(error: BaseException, words: Sequence[str]) -> str | None:
    """What to say of an error; None if it is a fault of ours."""
    if isinstance(error, TailcutError):
        return str(error)
    if isinstance(error, ArgumentError):
        from tailcut.cli.configs import reworded

        return reworded(str(error), "".join(f"{each} " for each in _subcommand(words)))
    if out_of_memory(error):
        return "out of memory; wanted more of it. Lower --batch_size"
    if isinstance(error, OSError) and error.errno in _NO_PLACE:
        return f"{error}; wanted a place to write to. Free some space or pass --out"
    return None


def _open_streams() -> None:
    """Somewhere to write to where the caller has closed it, and no character that cannot be."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            sink = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - till we end
            setattr(sys, name, sink)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(words: Sequence[str]) -> int:
    with leaving_at_once():
        name, options, config = _parsed(words)
        module = "lab_commands" if name.startswith("lab_") else "commands"
        commands = importlib.import_module(f"tailcut.cli.{module}")
    with _notes(shown=not options["run"].quiet):
        return getattr(commands, name)(options, config)


def _subcommand(words: Sequence[str]) -> Sequence[str]:
    """The leading words that name a command."""
    if words[:1] == ["lab"]:
        return words[: 1 + (words[1:2] != [] and words[1] in LAB_COMMANDS)]
    return words[:1] if words and words[0] in COMMANDS else []


@contextlib.contextmanager
def _notes(*, shown: bool) -> Iterator[None]:
    """What was made to fit is said on stderr, in one line each."""
    with warnings.catch_warnings():
        warnings.simplefilter("always" if shown else "ignore", TailcutWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, TailcutWarning):
                sys.stderr.write(f"tailcut: note: {' '.join(str(message).split())}\n")
            else:
                usual(message, category, *rest)

        warnings.showwarning = show
        yield


def _parsed(arguments: Sequence[str]) -> tuple[str, dict[str, Any], str]:
    """The function to call, its options by dataclass, and the config that repeats the run."""
    from tailcut.cli.configs import refuse_aliases

    refuse_aliases(arguments)
    parser, parsers = _parser()
    parsed = parser.parse_args([_option(word) for word in arguments])
    chosen, path = parsed[parsed.subcommand], (parsed.subcommand,)
    if path == ("lab",):
        chosen, path = chosen[chosen.subcommand], ("lab", chosen.subcommand)
    command = _command(path)
    if command.positional and command.positional[0] not in chosen:
        word = command.positional[0].upper()
        raise TailcutError(
            f"no {word}", wanted=command.positional[1](), advice=f"See tailcut {path[-1]} --help"
        )
    options: dict[str, Any] = {
        group.__name__.lower(): group(**{each.name: chosen[each.name] for each in fields(group)})
        for group in command.groups
    }
    if command.positional:
        options[command.positional[0]] = chosen[command.positional[0]]
    again = chosen.clone()
    for key in ("config", "out"):
        again.pop(key, None)
    return "_".join(path), options, parsers[path].dump(again, skip_validation=True)


def _option(word: str) -> str:
    """--class-map is --class_map, as it stands in a config file."""
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value if name[:2] == "--" else word


def _parser() -> tuple[Any, dict[tuple[str, ...], Any]]:
    from jsonargparse import ArgumentParser

    import tailcut

    parser = ArgumentParser(
        prog="tailcut",
        description="Cut memorised label noise out of a network that is already trained.",
        version=tailcut.__version__,
        exit_on_error=False,
    )
    parsers = {}
    subcommands = parser.add_subcommands()
    for name, command in COMMANDS.items():
        parsers[name,] = _subparser(command)
        subcommands.add_subcommand(name, parsers[name,], help=command.does)
    lab = ArgumentParser(description="Experiments under label noise.", exit_on_error=False)
    subcommands.add_subcommand("lab", lab, help="Experiments under controlled label noise.")
    lab_subcommands = lab.add_subcommands()
    for name, command in LAB_COMMANDS.items():
        parsers["lab", name] = _subparser(command)
        lab_subcommands.add_subcommand(name, parsers["lab", name], help=command.does)
    return parser, parsers


def _subparser(command: Command) -> Any:
    from jsonargparse import SUPPRESS, ArgumentParser

    from tailcut.cli.configs import ConfigFile

    texts = [tell() for group, tell in _EPILOGS.items() if group in command.groups]
    parser = ArgumentParser(
        description=command.does, epilog=" ".join(texts) or None, exit_on_error=False
    )
    parser.add_argument("--config", action=ConfigFile, help="YAML file of any of these options")
    if command.positional:
        name, forms = command.positional
        parser.add_argument(name, nargs="?", type=str, default=SUPPRESS, help=forms())
    for group in command.groups:
        switches: set[str | int] = {each.name for each in fields(group) if each.default is False}
        parser.add_class_arguments(group, as_group=False, skip=switches)
        for name in sorted(map(str, switches)):
            parser.add_argument(f"--{name}", action="store_true", help=SWITCHES[name])
    return parser


def _command(path: tuple[str, ...]) -> Command:
    return LAB_COMMANDS[path[1]] if len(path) == 2 else COMMANDS[path[0]]
