"""Probes of a study so far, in a file beside its checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from tailcut.errors import StoreError
from tailcut.files import store
from tailcut.lab.claims.features import Probe
from tailcut.lab.claims.study import Study
from tailcut.network.checkpoints import load_checkpoint


class Progress:
    """What an interrupted study goes on from; without a directory nothing is written.

    Raises:
        StoreError: A directory that holds another study, or a training that was not probed.
    """

    def __init__(self, directory: Path | None, study: Study) -> None:
        self.probes: dict[int, Probe] = {}
        self._study, self._path = store.plain(asdict(study)), None
        self.checkpoint: Path | None = None
        if directory is not None:
            self._path, self.checkpoint = directory / "probes.json", directory / "checkpoint.pt"
            self._read(self._path)
            self._require(study.probed_epochs(), self.checkpoint)

    @property
    def begun(self) -> bool:
        """Whether a checkpoint is there: its weights are no longer the untrained ones."""
        return self.checkpoint is not None and self.checkpoint.is_file()

    def add(self, epoch: int, probe: Probe) -> None:
        """Keep the probe of an epoch, 0 of the untrained network."""
        self.probes[epoch] = {"epoch": epoch, **probe}
        if self._path is not None:
            content = {"schema": store.SCHEMA, "study": self._study}
            store.write_json(self._path, {**content, "probes": list(self.probes.values())})

    def _require(self, wanted: list[int], checkpoint: Path) -> None:
        """Every probe up to the checkpoint, from which no way leads back."""
        if not self.begun:
            return
        content = load_checkpoint(checkpoint)
        over = len(content.get("epochs", ())) if isinstance(content, dict) else 0
        missed = [epoch for epoch in wanted if epoch <= over and epoch not in self.probes]
        if missed:
            raise StoreError(
                f"{checkpoint} is {over} epochs on, and no probe is there of {missed}",
                wanted="a training whose probes lie beside it in probes.json",
                advice="Delete the checkpoint, or choose another directory",
            )

    def _read(self, path: Path) -> None:
        if not path.is_file():
            return
        content = store.read_json(path)
        if content.get("study") != self._study:
            raise StoreError(
                f"{path} is of another study: {content.get('study')}",
                wanted=f"probes of {self._study}",
                advice="Delete its directory, or choose another one",
            )
        self.probes = {each["epoch"]: each for each in content["probes"]}
