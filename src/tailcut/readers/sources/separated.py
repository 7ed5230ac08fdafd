"""Tables in plain text: csv and tsv files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from tailcut.errors import SpecError
from tailcut.readers.cells import items
from tailcut.readers.classes import CLASS_MAP, INTEGER, Classes
from tailcut.readers.columns import Columns, known
from tailcut.readers.found import Found
from tailcut.readers.registry import Reading, source
from tailcut.readers.words import existing, readable

Row = tuple[int, list[str]]
"""The line where a row of text ends, and its cells."""


@source("csv", "FILE")
def _commas(path: str, reading: Reading) -> Found:
    return separated(path, reading.columns, reading.classes or reading.network, tabs=False)


@source("tsv", "FILE")
def _tabs(path: str, reading: Reading) -> Found:
    return separated(path, reading.columns, reading.classes or reading.network, tabs=True)


def separated(path: str, columns: Columns, classes: Classes | None, *, tabs: bool) -> Found:
    """Items and labels of a .csv or .tsv file, below a header or in two columns without one.

    Items are texts, or paths of images from the folder of the file on. Without a header they are
    texts.

    Cells of a csv may stand in quotes; in a tsv a quote is a letter like any other, and what
    stands before the last tab of a file without a header is the text.

    Raises:
        SpecError: Rows of several lengths, quotes that close nothing, a tsv in quotes, or a
            first row of which nobody can tell whether it is a header.
        DataError: No such column, or several.
    """
    rows = _rows(path, tabs=tabs)
    if tabs:
        _refuse_quoted(rows, path)
    first = rows[0][1]
    named = columns != Columns() or any(map(known, first))
    if _is_label(first[-1], classes) and columns == Columns() and not (named and len(first) > 2):
        kind, pairs = "text", _in_two(rows, path, tabs=tabs)
    elif named:
        kind, pairs = _below_header(rows, path, columns)
    else:
        raise SpecError(
            f"the first row of {path} is {_shown(first)}",
            wanted="a header that names a column label, or a text and an integer label",
            advice="Choose columns with --text-column and --label-column, or number the classes "
            f"with {CLASS_MAP}",
        )

    def place(row: int) -> str:
        return f"line {pairs[row][0]} of {path}"

    return Found(
        where=path,
        items=items([item for _, item, _ in pairs], kind, place, Path(path).parent),
        labels=[label for _, _, label in pairs],
        kind=kind,
        keys=range(len(pairs)),
        place=place,
    )


def _rows(path: str, *, tabs: bool) -> list[Row]:
    """As the standard library's strict reader: pandas and pyarrow mend what they cannot read."""
    with readable(f"{'tsv' if tabs else 'csv'}:{path}"):
        text = existing(Path(path)).read_bytes().decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds the character NUL, as a binary or UTF-16 file does")
        csv.field_size_limit(max(csv.field_size_limit(), len(text)))
        lines = io.StringIO(text, newline="")
        reader = (
            csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            if tabs
            else csv.reader(lines, strict=True)
        )
        try:
            rows = [(reader.line_num, row) for row in reader if row]
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from None
    if rows:
        return rows
    raise SpecError(f"{path} is empty", wanted="rows of text and label", advice="Check the file")


def _is_label(cell: str, classes: Classes | None) -> bool:
    known_name = classes is not None and cell in classes.numbers
    return known_name or INTEGER.fullmatch(cell) is not None


def _in_two(rows: list[Row], path: str, *, tabs: bool) -> list[tuple[int, str, str]]:
    """Text and label of rows without a header; tabs but the last belong to the text."""
    widths = {len(row) for _, row in rows}
    if widths != {2} and (not tabs or len(widths) == 1):
        found = " or ".join(map(str, sorted(widths)))
        raise SpecError(
            f"{path} has {found} columns and no header",
            wanted="a header, or two columns: a text and a label",
            advice="Write a first row with the names of the columns",
        )
    for line, row in rows:
        if len(row) < 2 or not row[-1].strip():
            raise SpecError(
                f"line {line} of {path} is {_shown(row)}",
                wanted="a text and a label",
                advice="Complete or remove that line",
            )
    return [(line, "\t".join(row[:-1]), row[-1]) for line, row in rows]


def _below_header(
    rows: list[Row], path: str, columns: Columns
) -> tuple[str, list[tuple[int, str, str]]]:
    """The kind of the items, and line, item and label of each row."""
    (_, header), *below = rows
    item, kind, label = columns.chosen(header, path)
    for line, row in below:
        if len(row) != len(header):
            raise SpecError(
                f"line {line} of {path} has {len(row)} cells, and the header has {len(header)}",
                wanted="as many in every row",
                advice="Correct that line; put cells that hold the separator in quotes, in a csv",
            )
    of_item, of_label = header.index(item), header.index(label)
    return kind, [(line, row[of_item], row[of_label]) for line, row in below]


def _refuse_quoted(rows: list[Row], path: str) -> None:
    """A tsv has no quotes around cells; one that seems to is not read as if they were text."""
    cells = [(line, [*row, "\t".join(row[:-1])]) for line, row in rows]
    inner = [(line, [cell[1:-1] for cell in row if _enclosed(cell)]) for line, row in cells]
    odd = [line for line, row in inner if any('""' in cell or "\t" in cell for cell in row)]
    if odd or all(row for _, row in inner):
        raise SpecError(
            f"line {odd[0] if odd else rows[0][0]} of {path} has quotes around a cell, as a csv "
            "writer puts them",
            wanted="tab-separated cells without quotes around them",
            advice="Write it with quoting=csv.QUOTE_NONE, or with commas and read it as csv:FILE",
        )


def _enclosed(cell: str) -> bool:
    """Whether a csv writer could have written it in quotes."""
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return whole and '"' not in cell[1:-1].replace('""', "")


def _shown(row: list[str]) -> str:
    cells = ", ".join(repr(cell[:40]) for cell in row[:6])
    return f"[{cells}{', ...' if len(row) > 6 else ''}]"
