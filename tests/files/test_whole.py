"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import stat

import pytest

from tailcut.errors import StoreError
from tailcut.files.whole import change_as_one, finish, names_in, write_atomically

# of Python 3.12 on, as torch has threads; the child uses none
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

FULL_DISK = OSError(errno.ENOSPC, "No space left on device")
INTERRUPTIONS = [FULL_DISK, KeyboardInterrupt(), RuntimeError("mid-way"), MemoryError()]


def told(call, *args):
    with pytest.raises(StoreError) as caught:
        call(*args)
    return str(caught.value)


def interrupted(by):
    """A writer that stops half-way."""

    def write(place):
        file = place / "part" if place.is_dir() else place
        file.write_text("half")
        raise by

    return write


def folder_of(*names):
    def write(place):
        for name in names:
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(name)

    return write


@pytest.mark.parametrize("by", INTERRUPTIONS, ids=lambda by: type(by).__name__)
@pytest.mark.parametrize("old", ["old", None])
def test_an_interrupted_file_leaves_the_old_one_and_no_litter(tmp_path, old, by):
    path = tmp_path / "result.json"
    if old is not None:
        path.write_text(old)
    with pytest.raises((type(by), StoreError)):
        write_atomically(path, interrupted(by))
    assert [file.name for file in tmp_path.iterdir()] == ([path.name] if old else [])
    assert old is None or path.read_text() == old


def test_a_writer_that_runs_out_of_disk_in_its_own_way_is_understood(tmp_path):
    path = tmp_path / "c.pt"
    assert told(write_atomically, path, interrupted(RuntimeError("unexpected pos 64 vs 0"))) == (
        f"{path} could not be written (unexpected pos 64 vs 0); wanted space on the disk and the "
        "right to write. Free some space, or write to another directory."
    )


def test_a_file_is_not_there_until_it_is_whole(tmp_path):
    path = tmp_path / "new" / "deep" / "result.json"

    def write(place):
        place.write_text("whole")
        assert not path.exists()

    assert write_atomically(path, write) == path
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("by", INTERRUPTIONS, ids=lambda by: type(by).__name__)
def test_an_interrupted_change_leaves_the_old_files_and_no_litter(tmp_path, by):
    change_as_one(tmp_path, folder_of("old", "deep/old"))

    def write(place):
        folder_of("new", "old")(place)
        interrupted(by)(place)

    with pytest.raises((type(by), StoreError)):
        change_as_one(tmp_path, write, lambda: ["deep/old"])
    assert names_in(tmp_path) == ["deep/old", "old"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_change_replaces_adds_and_takes_away_files_and_leaves_all_others(tmp_path):
    change_as_one(tmp_path, folder_of("old", "both", "deep/old", "mine/old"))
    (tmp_path / "both").write_text("other")
    (tmp_path / "mine" / "notes").touch()
    change_as_one(
        tmp_path, folder_of("new", "both", "deep/new"), lambda: ["old", "mine/old", "never/there"]
    )
    assert names_in(tmp_path) == ["both", "deep/new", "deep/old", "mine/notes", "new"]
    assert (tmp_path / "both").read_text() == "both"
    change_as_one(tmp_path, folder_of(), lambda: ["deep/new", "deep/old"])
    assert names_in(tmp_path) == ["both", "mine/notes", "new"]
    assert not (tmp_path / "deep").exists()


def test_nothing_outside_the_folder_is_taken_away(tmp_path):
    (tmp_path / "mine").touch()
    change_as_one(tmp_path / "run", folder_of("new"), lambda: ["../mine", str(tmp_path / "mine")])
    assert (tmp_path / "mine").exists()


def test_finishing_where_nothing_is_to_finish_changes_nothing(tmp_path):
    finish(tmp_path)
    finish(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def killed(write, *args):
    """Write in a child that is killed before its file is whole."""

    def and_die(place):
        place.write_text("half") if not place.is_dir() else (place / "half").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        write(*args, and_die)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_needs_is_not(tmp_path):
    killed(write_atomically, tmp_path / "a")
    assert len(list(tmp_path.iterdir())) == 1
    killed(change_as_one, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1

    def meanwhile(place):
        write_atomically(tmp_path / "b", lambda other: other.write_text("b"))
        place.write_text("a")

    write_atomically(tmp_path / "a", meanwhile)
    assert names_in(tmp_path) == ["a", "b"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_that_new_files_get(tmp_path, umask, mode):
    def private(place):
        place.touch(mode=0o600)

    before = os.umask(umask)
    try:
        path = write_atomically(tmp_path / "a", private)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
