"""The command line: parse, run, and turn errors into one line. `--help` imports no torch."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from tailcut.arguments import (
    Audited,
    Claimed,
    Demo,
    Dials,
    Engine,
    Gridded,
    Inputs,
    Probing,
    Run,
    Training,
)
from tailcut.errors import TailcutError

MODEL = "torchvision:NAME, timm:NAME, hf:DIR_OR_ID, lab:NAME or package.module:factory"


@dataclass(frozen=True)
class Command:
    """A command: the function in `tailcut.commands` that does it, and what it takes.

    Attributes:
        does: For the help.
        groups: Dataclasses whose fields are its options.
        positional: A word that stands without a dash, and its help.
    """

    does: str
    groups: tuple[type, ...]
    positional: tuple[str, str] | None = None


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
        "Train a small network on digits with wrong labels, repair it, and write a report.",
        (Demo, Run),
    ),
    "diagnose": Command(
        "Look at a network: spectrum, memorisation, noise, and whether a cut would help.",
        (Inputs, Dials, Run),
        ("model", MODEL),
    ),
    "repair": Command(
        "Cut memorised label noise out of a trained network.",
        (Inputs, Dials, Run),
        ("model", MODEL),
    ),
    "audit": Command(
        "Find wrong labels in the training data.",
        (Inputs, Audited, Run),
        ("model", MODEL),
    ),
    "report": Command(
        "Write report.html again from the result.json of a run.",
        (Run,),
        ("directory", "the run's directory"),
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

    0: done, whatever the verdict. 2: the input cannot be used, told in one line. 1: a fault
    of ours, with its traceback. 130: interrupted.
    """
    from jsonargparse import ArgumentError

    try:
        name, options, config = _parsed(sys.argv[1:] if arguments is None else arguments)
        room = "lab_commands" if name.startswith("lab_") else "commands"
        commands = importlib.import_module(f"tailcut.{room}")
        return getattr(commands, name)(options, config)
    except (TailcutError, ArgumentError) as error:
        return _refused(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        return _refused("out of memory; wanted more of it. Lower --batch_size")
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT}:
            raise
        return _refused(f"{error}; wanted a place to write to. Free some space or pass --out")
    except KeyboardInterrupt:
        sys.stderr.write("tailcut: interrupted; every file written so far is whole\n")
        return 130


def _parsed(arguments: Sequence[str]) -> tuple[str, dict[str, Any], str]:
    """The function to call, its options by dataclass, and the config that repeats the run."""
    parser, parsers = _parser()
    parsed = parser.parse_args([_option(word) for word in arguments])
    chosen, path = parsed[parsed.subcommand], (parsed.subcommand,)
    if path == ("lab",):
        chosen, path = chosen[chosen.subcommand], ("lab", chosen.subcommand)
    command = _command(path)
    if command.positional and command.positional[0] not in chosen:
        word = command.positional[0].upper()
        raise TailcutError(
            f"no {word}", wanted=command.positional[1], advice=f"See tailcut {path[-1]} --help"
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

    parser = ArgumentParser(description=command.does, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file of any of these options")
    if command.positional:
        name, told = command.positional
        parser.add_argument(name, nargs="?", type=str, default=SUPPRESS, help=told)
    for group in command.groups:
        switches: set[str | int] = {each.name for each in fields(group) if each.default is False}
        parser.add_class_arguments(group, as_group=False, skip=switches)
        for name in sorted(map(str, switches)):
            parser.add_argument(f"--{name}", action="store_true", help=SWITCHES[name])
    return parser


def _command(path: tuple[str, ...]) -> Command:
    return LAB_COMMANDS[path[1]] if len(path) == 2 else COMMANDS[path[0]]


def _out_of_memory(error: Exception) -> bool:
    """Torch says it in its own way on every device."""
    told = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in told or "can't allocate" in told


def _refused(message: str) -> int:
    sys.stderr.write(f"tailcut: error: {' '.join(message.split())}\n")
    return 2
