"""A process that saves runs over one another in children that are killed at every step.

    python tests/verbs/kills.py FOLDER STRIDE RANDOM_KILLS

Every STRIDE-th step is tried, and RANDOM_KILLS come at any moment besides. It prints how many
kills there were, and fails if one leaves anything but one of the two runs, or litter that the next
save does not sweep. Children are forked, because importing torch takes longer than all else.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn

import tailcut

torch.set_num_threads(1)
INPUTS = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(60) % 3


class Hub(nn.Module, PyTorchModelHubMixin):
    """A network that saves itself, as a folder."""

    def __init__(self):
        super().__init__()
        self.body, self.fc = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, inputs):
        return self.fc(self.body(inputs).relu())


def plain():
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def made(kind, rank):
    """A network, and the repair of it; at rank 2 with a holdout, and so with a curve."""
    torch.manual_seed(rank)
    model, holdout = kind(), [(INPUTS.flip(1), LABELS)] if rank == 2 else None
    dials = {"readout": "project", "rank": rank, "depth": "head", "views": [], "progress": False}
    dials["force"] = True  # nobody has trained it
    return model, tailcut.repair(model, [(INPUTS, LABELS)], holdout, **dials)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


def which(folder, runs):
    """The one run that a folder holds, with its undo."""
    for number, (model, fix) in enumerate(runs):
        try:
            back = tailcut.load(folder, model)
        except tailcut.StoreError as told:
            if "does not load as" not in str(told) and "does not fit" not in str(told):
                raise
            continue  # the run of the other network
        if back.summary == fix.summary:
            assert same(back.model.state_dict(), fix.model.state_dict())
            assert same(back.undo().state_dict(), model.state_dict())
            return number
    raise AssertionError(f"{folder} holds neither run")


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def killed_at(step, save):
    """Whether a child that saves was killed before its n-th step in the file system."""
    child = os.fork()
    if child == 0:
        left = step

        def hook(event, _):
            nonlocal left
            if event in STEPS:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        save()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"}


def at_every_step(folder, runs, stride):
    """Kill a save of the second run over the first before its steps."""
    old, new = runs[0][1], runs[1][1]
    new.save(folder / "alone")
    wanted = names(folder / "alone") | {"notes.txt"}
    place, step, kills, seen = folder / "run", 1, 0, set()
    while True:
        old.save(place)
        (place / "notes.txt").write_text("mine")
        if not killed_at(step, lambda: new.save(place)):
            break
        kills, step = kills + 1, step + stride
        seen.add(which(place, runs))
        new.save(place)
        assert names(place) == wanted, names(place) ^ wanted
        assert (place / "notes.txt").read_text() == "mine"
    assert seen == {0, 1}, seen
    return kills


def at_random(folder, runs, kills, seed=0):
    """Kill a child that saves both runs again and again, at any moment."""
    chance, place = random.Random(seed), folder / "run"
    runs[0][1].save(place)
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            while True:
                for _, fix in runs:
                    fix.save(place)
        time.sleep(chance.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        which(place, runs)
    runs[0][1].save(place)
    assert not [name for name in names(place) if name.startswith(".")], names(place)
    return kills


def main():
    folder, stride, random_kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    one, two, hub = made(plain, 2), made(plain, 1), made(Hub, 2)
    every = 0
    for number, pair in enumerate(([one, two], [hub, one], [one, hub])):
        every += at_every_step(folder / f"every-{number}", pair, stride)
    by_chance = at_random(folder / "random", [one, two], random_kills)
    sys.stdout.write(f"{every} kills before a step, {by_chance} at random\n")


if __name__ == "__main__":
    main()
