"""Found labels become numbers: by the names of the run's classes, never by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from tailcut.errors import DataError, SpecError
from tailcut.numerics.checks import checked_labels
from tailcut.readers.classes import CLASS_MAP, INTEGER, Classes
from tailcut.readers.found import Found
from tailcut.readers.rows import Rows


def numbered(
    found: Found, classes: Classes | None, network: Classes | None = None, *, first: bool = True
) -> Rows:
    """Rows whose labels are numbers.

    Names are looked up in `classes`: the class map, or the names of the training data. Without
    those, the numbers that the file itself has for them hold; names without numbers are looked
    up among the network's, if it knows every one of them, or refused.

    Args:
        found: Of a reader.
        classes: Of the run.
        network: Its own names.
        first: The training data, in which the order of the class folders may number them.

    Raises:
        SpecError: A name without a number, or a number that may mean two classes.
        DataError: Missing labels, labels that are no integers, or another number of them than
            of items.
    """
    _refuse_unequal(found)
    found = _as_integers(found)
    if classes is None and network is not None and _all_known(found, network):
        classes = network
    if classes is None and found.sorted_here and not first:
        raise SpecError(
            f"{found.where} has names of classes, and the training data has only numbers",
            wanted="the number of each name",
            advice=f"Give the numbers that the network was trained on with {CLASS_MAP}",
        )
    labels_N = _numbers(found, found.labels, classes)
    clean_N = None if found.clean is None else _numbers(found, found.clean, classes)
    names = found.names if classes is None else classes.names
    return Rows(found.items, labels_N, found.kind, clean_N, names, found.keys)


def _refuse_unequal(found: Found) -> None:
    """Not one label for each item: after a missing row every label would be another's."""
    lengths = {"inputs": len(found.items), "labels": len(found.labels)}
    if found.clean is not None:
        lengths["true labels"] = len(found.clean)
    if len(set(lengths.values())) > 1:
        counts = [f"{length} {what}" for what, length in lengths.items()]
        raise DataError(
            f"{found.where} has {', '.join(counts[:-1])} and {counts[-1]}",
            wanted="one label for each input",
            advice="Find the row that is missing: the labels after it belong to other inputs",
        )
    if not lengths["labels"]:
        raise DataError(
            f"{found.where} holds no row", wanted="at least one", advice="Check the file"
        )


def _as_integers(found: Found) -> Found:
    """Texts that are all integers, as every cell of a csv is text, are those integers."""
    given = _integers(found.labels)
    clean = found.clean if found.clean is None else _integers(found.clean)
    return replace(found, labels=given, clean=clean)


def _integers(labels: Sequence[Any]) -> Sequence[Any]:
    if all(isinstance(label, str) and INTEGER.fullmatch(label) for label in labels):
        return [int(label) for label in labels]
    return labels


def _all_known(found: Found, network: Classes) -> bool:
    """Whether a network's own names say what the labels of a file do not."""
    if found.sorted_here:
        return set(found.names or ()) <= set(network.numbers)
    names = {label for label in found.labels if isinstance(label, str)}
    return bool(names) and names <= set(network.numbers)


def _numbers(found: Found, labels: Sequence[Any], classes: Classes | None) -> Tensor:
    _refuse_odd(found, labels)
    if all(isinstance(label, str) for label in labels):
        return _by_name(found, labels, classes)
    numbers_N = checked_labels(labels, None, found.where)
    if found.names is not None:
        _refuse_unnamed(found, numbers_N)
        if classes is None:
            return numbers_N
        return _by_name(found, [found.names[number] for number in numbers_N.tolist()], classes)
    if classes is None:
        return numbers_N
    numbers = [classes.checked(int(n), found.at(row)) for row, n in enumerate(numbers_N.tolist())]
    return torch.tensor(numbers)


def _by_name(found: Found, names: Sequence[str], classes: Classes | None) -> Tensor:
    if classes is not None:
        return torch.tensor([classes.number(name, found.at(n)) for n, name in enumerate(names)])
    row = next(n for n, name in enumerate(names) if not INTEGER.fullmatch(name))
    raise SpecError(
        f"{found.at(row)} has the label {names[row]!r}",
        wanted="an integer label",
        advice="Give the numbers that the network was trained on with " + CLASS_MAP,
    )


LARGEST = 2**31 - 1
"""No network has so many classes; and larger numbers do not fit into every type of integer."""


def _refuse_odd(found: Found, labels: Sequence[Any]) -> None:
    """None, NaN, a text of blanks, and integers that are no classes."""
    for row, label in enumerate(labels):
        blank = isinstance(label, str) and not label.strip()
        if label is None or blank or label != label:  # noqa: PLR0124 only NaN differs from itself
            raise DataError(
                f"{found.at(row)} has no label",
                wanted="a label for each row",
                advice="Remove the rows without one",
            )
        if isinstance(label, Integral) and int(label) > LARGEST:
            raise DataError(
                f"{found.at(row)} has the label {label}",
                wanted="the number of a class",
                advice="Choose the column of the labels, if this one holds identifiers",
            )


def _refuse_unnamed(found: Found, numbers_N: Tensor) -> None:
    names = found.names or ()
    rows = torch.nonzero(numbers_N >= len(names)).flatten().tolist()
    if rows:
        raise DataError(
            f"{found.at(rows[0])} has the label {int(numbers_N[rows[0]])}, but {found.where} "
            f"names {len(names)} classes",
            wanted=f"labels 0..{len(names) - 1}",
            advice="Write the file again with the names of all classes, or without any",
        )
