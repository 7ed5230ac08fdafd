"""The commands of the lab."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from tailcut.cli.lab_options import Claimed, Engine, Probing, Training
from tailcut.cli.options import Run
from tailcut.cli.output import Bar, device_of_run, run_directory, tell
from tailcut.errors import SpecError
from tailcut.files import store
from tailcut.lab.claims import page as claims_page
from tailcut.lab.claims import presets, scale, scales
from tailcut.lab.claims.conduct import conduct, require_own
from tailcut.lab.claims.figures import epochs_by_ranks
from tailcut.lab.claims.presets import Preset
from tailcut.lab.claims.study import Study
from tailcut.lab.claims.tables import tables
from tailcut.lab.data.sources import SOURCES
from tailcut.lab.grid import engines
from tailcut.lab.grid import runs as grid
from tailcut.lab.grid.identity import product
from tailcut.lab.training import experiment

Options = Mapping[str, Any]


def lab_train(options: Options, config: str) -> int:
    """`tailcut lab train`."""
    run, training = options["run"], options["training"]
    device = device_of_run(run)
    sizes = {"train": training.train, "holdout": training.holdout}
    source = SOURCES.find(training.data)
    problem = source.make(
        rate=training.rate,
        kind=training.noise,
        seed=run.seed,
        **{name: size for name, size in sizes.items() if size is not None},
    )
    recipe = source.recipe.varied(training)
    with (
        run_directory(run, "train", config) as directory,
        Bar(run, recipe.epochs) as on_epoch,
    ):
        done = experiment.conduct(
            training.network,
            problem,
            recipe,
            seed=run.seed,
            device=device,
            checkpoint=directory / "checkpoint.pt",
            on_epoch=on_epoch,
        )
    about = {**asdict(training), "recipe": asdict(recipe), "seed": run.seed}
    experiment.save(done, directory, about)
    words = ["tailcut", "repair", f"lab:{training.network}"]
    words += ["--weights", f"{directory}/last.safetensors", "--data", f"npz:{directory}/train.npz"]
    words += ["--holdout", f"npz:{directory}/holdout.npz", "--clean", f"npz:{directory}/test.npz"]
    lines = [f"{100 * done.fit:.1f} % of the given training labels are fitted"]
    lines += [f"{name}: {100 * value:.1f} % on test" for name, value in done.baselines().items()]
    lines += [f"wrote {directory}", f"next: {shlex.join(words)}"]
    tell(run, "\n".join(lines), store.read_json(directory / "result.json"))
    return 0


def lab_probe(options: Options, config: str) -> int:
    """`tailcut lab probe`: goes on in a directory that holds the same study begun."""
    run, probing = options["run"], options["probing"]
    study = _study(options["training"], run, probing)
    device = device_of_run(run)
    if run.out is not None:
        require_own(Path(run.out), study)
    with (
        run_directory(run, "probe", config) as directory,
        Bar(run, study.epochs) as on_epoch,
    ):
        record = conduct(study, directory, device=device, on_epoch=on_epoch)
    probes = record.probes
    for name, table in tables(record).items():
        store.write_text(directory / f"{name}.csv", table.to_csv(index=False))
    store.write_text(directory / "epochs-ranks.svg", epochs_by_ranks(probes))
    store.write_json(
        directory / "result.json",
        {"schema": store.SCHEMA, "study": asdict(study), **record.to_json()},
    )
    shown = ["epoch", "test", "memorised", "effective_rank", "nc1_true"]
    scalars = pd.DataFrame([{name: each.get(name) for name in shown} for each in probes])
    text = f"{scalars.to_string(index=False)}\nwrote {directory}"
    tell(run, text, {"directory": str(directory), "probes": scalars.to_dict("records")})
    return 0


def lab_claims(options: Options, config: str) -> int:
    """`tailcut lab claims`: missing studies are run, finished ones are read."""
    run, claimed = options["run"], options["claimed"]
    chosen = scales.preset(claimed.preset)
    if isinstance(chosen, scales.Scale):
        return _lab_scale(chosen, options, config)
    if claimed.sizes is not None:
        raise SpecError(
            f"--sizes with the preset {claimed.preset}",
            wanted=f"sizes of {' or '.join(scales.SCALES)} alone",
            advice="Leave them out, or choose another preset",
        )
    preset = _as_claimed(chosen, claimed, run)
    settling = _settling(options)
    with (
        run_directory(run, "claims", config) as directory,
        Bar(run, len(preset.studies()), "studies") as on_done,
    ):
        found = claims_page.settle(preset, directory, on_done=on_done, **settling)
    lines = [f"{each.name} {each.verdict:<14} {each.claim}" for each in found]
    lines.append(f"wrote {directory / 'claims.md'}")
    verdicts = {each.name: each.verdict for each in found}
    tell(run, "\n".join(lines), {"file": str(directory / "claims.md"), "verdicts": verdicts})
    return 0


def _lab_scale(chosen: scales.Scale, options: Options, config: str) -> int:
    """`tailcut lab claims --preset scale`."""
    run, claimed = options["run"], options["claimed"]
    chosen = replace(chosen, preset=_as_claimed(chosen.preset, claimed, run))
    sizes = chosen.sizes if claimed.sizes is None else claimed.sizes
    wanted, settling = chosen.studies(sizes), _settling(options)
    with (
        run_directory(run, "claims", config) as directory,
        Bar(run, len(wanted), "studies") as on_done,
    ):
        axes = scale.settle(chosen, directory, sizes=sizes, on_done=on_done, **settling)
    lines = [line for axis in axes for line in scale.changes(axis)]
    lines.append(f"wrote {directory / 'scale.md'}")
    verdicts = {axis.name: {p.label: scale.verdicts_at(p) for p in axis.points} for axis in axes}
    tell(run, "\n".join(lines), {"file": str(directory / "scale.md"), "verdicts": verdicts})
    return 0


def _settling(options: Options) -> dict[str, Any]:
    """Where the trainings of claims run, and where they are kept."""
    studies, engine = options["claimed"].studies, options["engine"]
    return {
        "studies": None if studies is None else Path(studies),
        "device": _device(options["run"], engine),
        "engine": _engine(engine),
    }


def _as_claimed(preset: Preset, claimed: Claimed, run: Run) -> Preset:
    """With the claims and seeds that were asked for."""
    count = len(preset.seeds) if claimed.seeds is None else claimed.seeds
    preset = presets.with_seeds(preset, range(run.seed, run.seed + count))
    if claimed.claims is None:
        return preset
    return presets.with_claims(preset, [name.strip() for name in claimed.claims.split(",")])


def lab_grid(options: Options, config: str) -> int:
    """`tailcut lab grid`: every combination of the axes as a study."""
    run, gridded = options["run"], options["gridded"]
    axes = {"seed": [run.seed], **gridded.axes}
    studies = product(Study, axes)
    device = _device(run, options["engine"])
    with (
        run_directory(run, "grid", config) as directory,
        Bar(run, len(studies), "studies") as on_done,
    ):
        contents = grid.run(
            studies,
            partial(conduct, device=device),
            directory / "studies",
            _engine(options["engine"]),
            on_done=on_done,
        )
    rows = [
        {**{name: each["config"][name] for name in axes}, **_ends(each["result"])}
        for each in contents
    ]
    table = pd.DataFrame(rows)
    store.write_text(directory / "grid.csv", table.to_csv(index=False))
    text = f"{table.to_string(index=False)}\nwrote {directory / 'grid.csv'}"
    tell(run, text, {"file": str(directory / "grid.csv"), "rows": table.to_dict("records")})
    return 0


def _ends(record: Mapping[str, Any]) -> dict[str, Any]:
    ends = {name: record[name] for name in ("last", "best_epoch", "noisy_epoch")}
    return ends | ({"repaired": record["repair"]["after"]} if "repair" in record else {})


def _device(run: Run, engine: Engine) -> str:
    """Of every training; what there is on the machines of a Ray, only these can tell."""
    return run.device if engine.engine == "ray" else device_of_run(run)


def _engine(engine: Engine) -> engines.Engine:
    return engines.Engine(engine.engine, engine.workers, engine.address, engine.gpus)


def _study(training: Training, run: Run, probing: Probing) -> Study:
    source = SOURCES.find(training.data)
    recipe = source.recipe.varied(training)
    train, holdout = source.train_under(training.noise), source.holdout
    return Study.under(
        recipe,
        data=training.data,
        network=training.network,
        noise=training.noise,
        rate=training.rate,
        seed=run.seed,
        train=train if training.train is None else training.train,
        holdout=holdout if training.holdout is None else training.holdout,
        probes=probing.probes if isinstance(probing.probes, int) else tuple(probing.probes),
        repair=probing.repair,
    )
