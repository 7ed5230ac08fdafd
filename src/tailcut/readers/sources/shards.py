"""WebDataset shards: tar files in which the files of one sample share a name and follow another."""

from __future__ import annotations

import glob
import io
import itertools
import json
import re
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tailcut.errors import SpecError
from tailcut.readers.cells import items
from tailcut.readers.columns import Columns
from tailcut.readers.found import Found
from tailcut.readers.images import SUFFIXES, Source
from tailcut.readers.registry import Reading, source
from tailcut.readers.words import readable

_IMAGES = tuple(suffix[1:] for suffix in SUFFIXES)
_TEXTS, _CLASSES, _RECORDS = ("txt", "text"), ("cls", "cls2", "label"), ("json", "jsn")
_USUAL = {"image": (*_IMAGES, "image"), "text": _TEXTS, "label": ("cls", "label")}

Sample = dict[str, Any]
"""What a sample's files hold, by what their names end in."""


@source("webdataset", "SHARDS")
def _word(pattern: str, reading: Reading) -> Found:
    return shards(pattern, reading.columns)


def shards(pattern: str, columns: Columns) -> Found:
    """Images or texts of tar files, in the order of the files and of their names within.

    Args:
        pattern: A file, or several as `train-{000..012}.tar` or `train-*.tar`.
        columns: Endings of the names, such as jpg, txt and cls; `json.label` is a name in a
            record. Images of several endings are one column.

    Raises:
        SpecError: No such file, a damaged one, or a name that stands twice.
        DataError: No such column, or several.
    """
    samples: list[Sample] = []
    keys: list[str] = []
    for path in _paths(pattern):
        with readable(f"webdataset:{path}"):
            for key, sample in _samples(path):
                samples.append(sample)
                keys.append(f"{path.name}/{key}")
    if not samples:
        raise SpecError(f"{pattern} holds no sample", wanted="tar files", advice="Check the files")
    if columns.image is None:
        _as_one_column(samples)
    names = list(dict.fromkeys(name for sample in samples for name in sample))
    item, kind, label = columns.chosen(names, pattern, _USUAL)
    return Found(
        where=pattern,
        items=items([sample.get(item) for sample in samples], kind, keys.__getitem__, Path()),
        labels=[sample.get(label) for sample in samples],
        kind=kind,
        keys=keys,
    )


def _paths(pattern: str) -> list[Path]:
    """Files in the order that the braces say, and those of a star in that of their names."""
    parts = re.split(r"\{(\d+)\.\.(\d+)\}", pattern)
    ranges = [
        [f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1)]
        for first, last in zip(parts[1::3], parts[2::3], strict=True)
    ]
    paths: list[str] = []
    for chosen in itertools.product(*ranges):
        path = parts[0] + "".join(map("".join, zip(chosen, parts[3::3], strict=True)))
        found = [path] if Path(path).exists() else sorted(glob.glob(path))  # noqa: PTH207 the path may start anywhere
        if not found:
            raise SpecError(
                f"nothing at {path}",
                wanted="tar files, as train-{000..012}.tar or train-*.tar names them",
                advice="Check the path",
            )
        paths += found
    return [Path(path) for path in paths]


def _samples(path: Path) -> Iterator[tuple[str, Sample]]:
    """The samples of one file by key: what stands before the first dot of a name."""
    sample, last = Sample(), None
    with tarfile.open(path) as archive:
        packed = not isinstance(archive.fileobj, io.BufferedReader)
        for member in archive:
            base = member.name.rpartition("/")[2]
            if not member.isfile() or base.startswith("."):
                continue
            stem, _, ending = base.partition(".")
            key = member.name[: len(member.name) - len(base)] + stem
            if key != last and last is not None:
                yield last, sample
                sample = Sample()
            last = key
            if ending.lower() in sample:
                raise ValueError(f"{member.name!r} stands twice")
            sample |= _field(archive, member, ending.lower(), None if packed else path)
        if last is not None:
            yield last, sample
        _require_end(archive)


def _require_end(archive: tarfile.TarFile) -> None:
    """A whole tar file ends in blocks of zeros; tarfile takes a cut one for a shorter one."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise ValueError("its end is missing")


def _field(
    archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str, path: Path | None
) -> Sample:
    """What a file holds; an image of a plain tar file stays there until it is its turn."""
    kind = ending.rpartition(".")[2]
    if kind in _IMAGES and path is not None:
        return {ending: partial(_part, path, member.offset_data, member.size)}
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    if kind in _IMAGES:
        return {ending: partial(bytes, content)}
    if kind in _TEXTS:
        return {ending: content.decode("utf-8")}
    if kind in _CLASSES:
        return {ending: content.decode("utf-8").strip()}
    if kind in _RECORDS:
        record = json.loads(content)
        named = record.items() if isinstance(record, dict) else ()
        return {ending: record, **{f"{ending}.{name}": value for name, value in named}}
    return {ending: content}


def _part(path: Path, start: int, size: int) -> Source:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def _as_one_column(samples: list[Sample]) -> None:
    """Images of several endings, of which each sample has one, are the column `image`."""
    found = [[name for name in sample if name in _IMAGES] for sample in samples]
    if len({name for names in found for name in names}) > 1 and all(len(n) < 2 for n in found):
        for sample, names in zip(samples, found, strict=True):
            for name in names:
                sample["image"] = sample.pop(name)
