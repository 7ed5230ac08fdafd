"""Damaged inputs by the thousand: each is read rightly or refused, never anything else.

    def test_a_fuzzed_npz_is_read_rightly_or_refused(tmp_path):
        fuzz("npz", {"a.npz": valid_bytes}, read, tmp_path, right=same_as_numpy)

`read(path)` is the reader under test; `right(path, found)` asserts that what it found is what an
independent reader finds in the same file. A failure names the file, which is kept, and its number;
`TAILCUT_FUZZ` is the number of inputs (`TAILCUT_FUZZ=10000 pytest tests/fuzz`).
"""

from __future__ import annotations

import os
import random
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailcut.errors import TailcutError

INPUTS = int(os.environ.get("TAILCUT_FUZZ", "40"))
"""How many damaged inputs each reader gets."""

Damage = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Tally:
    """What became of the inputs of one reader."""

    reader: str
    read: int
    refused: int
    seconds: float

    def __str__(self) -> str:
        whole = self.read + self.refused
        return (
            f"{self.reader}: {whole} inputs, {self.read} read rightly, {self.refused} refused, "
            f"0 tracebacks, 0 silent changes, {self.seconds:.0f} s"
        )


def fuzz(
    reader: str,
    valid: Mapping[str, bytes],
    read: Callable[[Path], Any],
    folder: Path,
    *,
    right: Callable[[Path, Any], None],
    damages: Sequence[Damage] = (),
    inputs: int = INPUTS,
    seed: int = 0,
) -> Tally:
    """Damage valid files (by their names) and see what a reader makes of each.

    Args:
        reader: For the printed tally.
        valid: Contents of whole files; the damaged one keeps the name, so that suffixes count.
        read: The reader under test: returns what it found, or raises a TailcutError.
        folder: An empty one.
        right: Asserts that what was found is what an independent reader finds.
        damages: More of them, that know the form; a third of the damage is theirs.
        inputs: How many.
        seed: Input `n` depends on `seed` and `n` alone, so that one can be made again.
    """
    began, outcomes = time.perf_counter(), {"read": 0, "refused": 0}
    for number in range(inputs):
        name, content = damaged(valid, damages, seed, number)
        path = folder / name
        path.unlink(
            missing_ok=True
        )  # a disk flushes a file that is cut to nothing: ten times slower
        path.write_bytes(content)
        try:
            outcomes[_outcome(path, read, right)] += 1
        except Exception as fault:  # noqa: BLE001 any other exception is what is looked for
            kept = path.rename(folder / f"{number}-{name}")
            told = "".join(traceback.format_exception(fault))
            raise AssertionError(f"{reader}, input {number}, kept as {kept}:\n{told}") from None
    tally = Tally(reader, **outcomes, seconds=time.perf_counter() - began)
    print(f"\n{tally}")  # noqa: T201 the tally is what a long run is for
    return tally


def _outcome(path: Path, read: Callable[[Path], Any], right: Callable[[Path, Any], None]) -> str:
    try:
        found = read(path)
    except TailcutError:
        return "refused"
    right(path, found)
    return "read"


def damaged(
    valid: Mapping[str, bytes], damages: Sequence[Damage], seed: int, number: int
) -> tuple[str, bytes]:
    """Input `number`: a valid file with one to three damages; each comes whole once, first."""
    chance = random.Random(f"{seed} {number}")
    names, others = sorted(valid), [valid[each] for each in sorted(valid)]
    if number < len(names):
        return names[number], valid[names[number]]
    name = chance.choice(names)
    content = valid[name]
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if damages and chance.random() < 1 / 3:
            content = chance.choice(damages)(content, chance)
        else:
            content = chance.choice(GENERAL)(content, chance, others)
    return name, content


def _flipped(content: bytes, chance: random.Random, _others: list[bytes]) -> bytes:
    """One to eight bits."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _truncated(content: bytes, chance: random.Random, _others: list[bytes]) -> bytes:
    return content[: chance.randint(0, len(content))]


def _without(content: bytes, chance: random.Random, _others: list[bytes]) -> bytes:
    """A stretch left out."""
    start = chance.randint(0, len(content))
    return content[:start] + content[start + chance.choice((1, 2, 7, 64, 1000)) :]


def _inserted(content: bytes, chance: random.Random, _others: list[bytes]) -> bytes:
    start, odd = chance.randint(0, len(content)), chance.choice(ODD)
    return content[:start] + odd + content[start:]


def _overwritten(content: bytes, chance: random.Random, _others: list[bytes]) -> bytes:
    start, odd = chance.randint(0, len(content)), chance.choice(ODD)
    return content[:start] + odd + content[start + len(odd) :]


def _repeated(content: bytes, chance: random.Random, _others: list[bytes]) -> bytes:
    """A stretch twice."""
    start = chance.randint(0, len(content))
    stop = min(len(content), start + chance.choice((1, 2, 7, 64, 1000)))
    return content[:stop] + content[start:]


def _spliced(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """The first part of one file and the last part of another."""
    other = chance.choice(others)
    return content[: chance.randint(0, len(content))] + other[chance.randint(0, len(other)) :]


GENERAL = (_flipped, _truncated, _without, _inserted, _overwritten, _repeated, _spliced)
"""What can happen to any file."""

ODD = [
    *(bytes([byte]) for byte in (0, 1, 9, 10, 13, 34, 39, 44, 58, 92, 127, 128, 255)),
    b"\x00" * 8,
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    *(each.encode() for each in ("\ufeff", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c")),
    *(each.encode() for each in ("é", "e\u0301", "😀", "\u202e", "\u0663", "²", "\u00a0")),
    *(b"-1", b"1.0", b"1e3", b"nan", b"null", b"99999999999999999999", b"0x1", b"\r\n", b'""'),
]
"""Bytes that readers stumble over."""
