"""Files that appear whole and folders that change as one, whenever the process dies."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError

from tailcut.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and nothing swept
    fcntl = None

_STAGED = ".tailcut-new-"
_COMMITTED = ".tailcut-commit"
"""A folder of files that count already, and only have to be moved up by one."""
_GONE = ".gone"
"""In such a folder: the names of files that the change takes away, one a line."""


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a file of the same name in a folder beside `path`, then move it there.

    A full disk, an interrupt or an error leaves whatever was there before, and no litter; what a
    killed process leaves is swept by the next write into the folder. The file is on the disk when
    this returns, with the permissions that new files get here.

    Raises:
        StoreError: A writer that failed for a reason of its own, such as a full disk.
        OSError: As the system raised it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if any(each.name.startswith(_STAGED) for each in path.parents):
        write(path)  # part of a change that nobody sees yet
        return path
    with _staging(path.parent) as staged:
        place = staged / path.name
        with _explained(path):
            write(place)
        _settle(staged)
        place.replace(path)
    _sync(path.parent)
    return path


def change_as_one(
    folder: str | Path,
    write: Callable[[Path], object],
    gone: Callable[[], Iterable[str]] = tuple,
) -> Path:
    """Let `write` fill an empty folder, then put its files into `folder`, all or none of them.

    One rename decides: until then the folder is as it was, from then on `finish` completes the
    change, here or in whoever looks next. Files of other names stay.

    Args:
        folder: May be new.
        write: Fills the folder it is given.
        gone: Names, relative to the folder, that the change takes away.

    Raises:
        StoreError: A folder in the place of a file, or a writer that failed.
        OSError: As the system raised it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    finish(folder)
    with _staging(folder) as staged:
        with _explained(folder):
            write(staged)
        _require_places(folder, names_in(staged))
        (staged / _GONE).write_text("\n".join(gone()), encoding="utf-8")
        _settle(staged)
        staged.rename(folder / _COMMITTED)
        _sync(folder)
    finish(folder)
    return folder


def finish(folder: str | Path) -> None:
    """Complete a change of the folder that was decided and then cut off; usually there is none.

    Raises:
        StoreError: It cannot be completed, as in a folder that may only be read.
    """
    folder = Path(folder)
    committed = folder / _COMMITTED
    if not committed.is_dir():
        return
    try:
        _finish(folder, committed)
    except OSError as cause:
        if not committed.is_dir():  # somebody else has finished it meanwhile
            return
        raise StoreError(
            f"a save into {folder} was cut off and cannot be completed ({cause.strerror})",
            wanted="the right to write there, and space on the disk",
            advice="Make the folder writable, or load a copy of it that is",
        ) from cause


def _finish(folder: Path, committed: Path) -> None:
    list_of_gone = committed / _GONE
    gone = list_of_gone.read_text(encoding="utf-8").splitlines() if list_of_gone.exists() else []
    for name in filter(is_inside, gone):
        (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others' files are in it
            (folder / name).parent.rmdir()
    names = names_in(committed)
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # someone else is finishing it too
            (committed / name).replace(place)
    for place in {(folder / name).parent for name in names} | {folder}:
        _sync(place)
    shutil.rmtree(committed, ignore_errors=True)


def names_in(folder: Path) -> list[str]:
    """Files under a folder, relative to it, in a fixed order."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != _GONE)


def is_inside(name: str) -> bool:
    """Whether a relative name stays inside the folder that it is relative to."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def digest(path: Path, *, blank: tuple[int, int] = (0, 0)) -> str:
    """The sha256 of a file, as hex digits, as if zeros stood from one byte up to another."""
    hashed, place = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            start, stop = (min(max(each - place, 0), len(block)) for each in blank)
            hashed.update(block[:start] + b"0" * (stop - start) + block[stop:])
            place += len(block)
    return hashed.hexdigest()


def first_line(cause: object) -> str:
    """Of what somebody else's error says, without its full stop."""
    text = str(cause).strip().partition("\n")[0].partition(". ")[0] or type(cause).__name__
    return text.rstrip(".")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What writers say of a full disk in their own ways becomes an error of ours."""
    try:
        yield
    except (SafetensorError, RuntimeError) as cause:
        raise StoreError(
            f"{path} could not be written ({first_line(cause)})",
            wanted="space on the disk and the right to write",
            advice="Free some space, or write to another directory",
        ) from cause


def _require_places(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        above = [folder / each for each in PurePosixPath(name).parents if each.parts]
        wrong = [each for each in above if each.exists() and not each.is_dir()]
        wrong += [folder / name] if (folder / name).is_dir() else []
        if wrong:
            kind = "folder" if wrong[0].is_dir() else "file"
            raise StoreError(
                f"{wrong[0]} is a {kind}",
                wanted=f"a place for the {'file' if kind == 'folder' else 'folder'} of that name",
                advice="Move it away, or write to another directory",
            )


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A new empty folder in a folder, gone afterwards; those of killed processes go at once."""
    for left in folder.glob(f"{_STAGED}*"):
        with _lock(left, wait=False) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    with contextlib.ExitStack() as held:
        staged = folder
        while staged == folder or not staged.exists():  # somebody may sweep it before it is locked
            staged = folder / f"{_STAGED}{uuid.uuid4().hex[:8]}"
            staged.mkdir()
            held.enter_context(_lock(staged, wait=True))
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a folder, if the system can; those of a killed process it releases."""
    try:
        held = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        yield _locked(held, wait=wait)
    finally:
        os.close(held)


def _locked(held: int, *, wait: bool) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _settle(folder: Path) -> None:
    """Everything in a folder on the disk, with the permissions that new files get here."""
    ordinary = folder.stat().st_mode & 0o666
    for path in [*folder.rglob("*"), folder]:
        if path.is_file():
            path.chmod(ordinary)
        _sync(path)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return
    held = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(held)
    finally:
        os.close(held)
