"""Errors that say what was seen, what was wanted and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial


class TailcutError(ValueError):
    """Root of every error that tailcut raises on purpose.

    Args:
        seen: What was found, with its numbers.
        wanted: What would have been usable.
        advice: The next step, as an imperative sentence without its full stop.
    """

    def __init__(self, seen: str, *, wanted: str = "", advice: str = "") -> None:
        self.seen, self.wanted, self.advice = seen, wanted, advice
        sentence = f"{seen}; wanted {wanted}. {advice}."
        if not wanted:  # a DataLoader passes on what its worker raised as one text: a traceback
            sentence = seen.strip().rpartition("\n")[2].partition("Error: ")[2] or seen
        super().__init__(sentence)

    def __reduce__(self) -> tuple[Callable[[], TailcutError], tuple[()], dict[str, object]]:
        """Made again from its three texts: pickle would pass the message alone."""
        again = partial(type(self), self.seen, wanted=self.wanted, advice=self.advice)
        return again, (), vars(self)


class DataError(TailcutError):
    """Features, labels or batches that cannot be used."""


class HeadError(TailcutError):
    """The linear head of a network is missing, ambiguous, or does not give its logits."""


class StoreError(TailcutError):
    """A file that does not fit, is damaged, or would run code."""


class SpecError(TailcutError):
    """A MODEL or DATA word of the command line that names nothing."""


class TailcutWarning(UserWarning):
    """What was made to fit, and how: the command line prints it to stderr as a note."""


@contextmanager
def concerning(what: str) -> Iterator[None]:
    """Errors inside say first what they are about, such as one of several data sets."""
    try:
        yield
    except TailcutError as error:
        if what in error.seen:
            raise
        sentence = f"{what}: {error.seen}"
        raise type(error)(sentence, wanted=error.wanted, advice=error.advice) from error


def out_of_memory(error: BaseException) -> bool:
    """Torch says it in its own way on every device."""
    lowered = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in lowered or "can't allocate" in lowered)
    )
