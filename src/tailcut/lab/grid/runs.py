"""A grid of runs on local processes or on Ray: a file each, and a rerun does what is missing."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import MISSING, asdict, fields, is_dataclass
from itertools import product as combinations
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tailcut.errors import StoreError, TailcutError
from tailcut.files.store import SCHEMA, read_json, write_json
from tailcut.lab.grid.engines import Outcomes, Work, by_pool, by_ray

Config = TypeVar("Config")
Content = dict[str, Any]

ENGINES = ("pool", "ray")


def product(kind: type[Config], axes: Mapping[str, Sequence[Any]]) -> list[Config]:
    """Every combination of the axes as a config; the last axis changes fastest.

    Args:
        kind: A dataclass.
        axes: Values to try by field; the other fields keep their defaults.

    Raises:
        TailcutError: An axis that is no field or no sequence, or a field without value.
    """
    known = {each.name: each for each in fields(kind) if each.init}  # pyright: ignore[reportArgumentType] checked by fields
    unknown = [name for name in axes if name not in known]
    lacking = [
        name
        for name, each in known.items()
        if name not in axes and each.default is MISSING and each.default_factory is MISSING
    ]
    if unknown or lacking:
        parts = [("has no field", unknown), ("has no default for", lacking)]
        raise TailcutError(
            f"{kind.__name__} "
            + " and ".join(f"{told} {', '.join(names)}" for told, names in parts if names),
            wanted=f"axes that are fields of it: {', '.join(known)}",
            advice="Name an axis for every field without default, and no other",
        )
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise TailcutError(
                f"axis {name!r} is {values!r}",
                wanted="a list of values",
                advice=f"Write [{values!r}] for a single one",
            )
    return [kind(**dict(zip(axes, values, strict=True))) for values in combinations(*axes.values())]


def identity(config: Any) -> str:
    """A name for the files of a config: readable, and the same wherever it is asked for.

    The values of its top fields, then 8 hex digits of the sha256 of all of it as JSON with sorted
    keys, defaults included. Whole floats count as integers, because 1 and 1.0 are equal.

    Raises:
        TailcutError: No dataclass, or a value that is not plain: text, a finite number, truth,
            None, or lists and dicts of these.
    """
    values = {each.name: _canonical(getattr(config, each.name), each.name) for each in _of(config)}
    told = [_readable(name, value) for name, value in values.items()]
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", "-".join(part for part in told if part))
    digest = hashlib.sha256(_text(values).encode()).hexdigest()[:8]
    return "-".join(part for part in (readable[:80].strip("._-"), digest) if part)


def _of(config: Any) -> tuple[Any, ...]:
    if isinstance(config, type) or not is_dataclass(config):
        raise TailcutError(
            f"a config is of type {type(config).__name__}",
            wanted="an instance of a frozen dataclass",
            advice="Describe a run by a dataclass of plain values",
        )
    return fields(config)


def _canonical(value: Any, name: str) -> Any:
    """JSON's own types, in one form for equal values."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _canonical(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item, name) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else float(value)
    if value is None or isinstance(value, (str, int)):
        return json.loads(json.dumps(value))  # the plain value of an Enum that is a str or an int
    raise TailcutError(
        f"field {name!r} of a config is {value!r}, of type {type(value).__name__}",
        wanted="text, a finite number, true, false or None, or lists and dicts of these",
        advice="Give a plain value, and make of it in the run what the run needs",
    )


def _text(values: Any) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def _readable(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else ""
    return str(value) if isinstance(value, (str, int, float)) else ""


def run(
    configs: Iterable[Any],
    work: Work,
    directory: str | Path,
    *,
    engine: str = "pool",
    workers: int | None = None,
    address: str | None = None,
    gpus: float = 0.0,
    retries: int = 1,
    on_done: Callable[[Content], object] = lambda _: None,
) -> list[Content]:
    """Run every config whose file is not there yet, and return what all files hold.

    A file `<identity>.json` holds `schema`, `id`, `config`, `result` and `seconds`. It appears
    when its run ends, whole or not at all, so a grid that was killed goes on from there, by
    whichever engine.

    Args:
        configs: Frozen dataclasses of plain values; equal ones are run once.
        work: A function at the top of a module, from a config to a dict of numbers, texts, arrays.
        directory: Of the files.
        engine: "pool" for processes of this machine, which share its cores as threads; "ray" for
            tasks of one core each.
        workers: Runs at the same time; default: as many as there are cores.
        address: Of a Ray cluster; default: $RAY_ADDRESS, or a local Ray for the time of the grid.
            A Ray to which the process is connected already is used as it is.
        gpus: That a run takes of Ray; may be a fraction.
        retries: Further tries of a run that fails or whose process dies.
        on_done: Told of every run that ends here, with the content of its file.

    Returns:
        Contents of the files in the order of the configs.

    Raises:
        StoreError: A file that is damaged, or of another schema or config; nothing is run then.
        TailcutError: Runs that failed, after all others have ended; or an engine that cannot be
            used.
    """
    _check(engine, workers)
    directory, configs = Path(directory), list(configs)
    directory.mkdir(parents=True, exist_ok=True)
    by_name = {identity(config): config for config in configs}
    path_of = {name: directory / f"{name}.json" for name in by_name}
    todo = {name: by_name[name] for name, path in path_of.items() if not path.exists()}
    done = {name: _read(path_of[name], name, by_name[name]) for name in by_name if name not in todo}
    failed: dict[str, Exception] = {}
    with closing(_outcomes(engine, work, todo, workers, retries, address, gpus)) as outcomes:
        for name, outcome in outcomes:
            if isinstance(outcome, Exception):
                failed[name] = outcome
                continue
            write_json(path_of[name], _content(name, by_name[name], *outcome))
            done[name] = _read(path_of[name], name, by_name[name])
            on_done(done[name])
    if failed:
        _tell({name: failed[name] for name in by_name if name in failed}, len(by_name), directory)
    return [done[identity(config)] for config in configs]


def finished(configs: Iterable[Any], directory: str | Path) -> dict[Any, Content]:
    """Contents of the files that are there, by config; nothing is run.

    Raises:
        StoreError: See `run`.
    """
    names = {config: identity(config) for config in configs}
    paths = {config: Path(directory) / f"{name}.json" for config, name in names.items()}
    return {
        config: _read(path, names[config], config)
        for config, path in paths.items()
        if path.exists()
    }


def _outcomes(
    engine: str,
    work: Work,
    todo: Mapping[str, Any],
    workers: int | None,
    retries: int,
    address: str | None,
    gpus: float,
) -> Outcomes:
    if todo and engine == "pool":
        yield from by_pool(work, todo, workers=workers, retries=retries)
    elif todo:
        yield from by_ray(work, todo, workers=workers, retries=retries, address=address, gpus=gpus)


def _check(engine: str, workers: int | None) -> None:
    if engine not in ENGINES:
        raise TailcutError(
            f"engine {engine!r}", wanted=f"one of {', '.join(ENGINES)}", advice="Name one of them"
        )
    if workers is not None and workers < 1:
        raise TailcutError(f"{workers} workers", wanted="1 or more", advice="Give none for all")


def _content(name: str, config: Any, result: Content, seconds: float) -> Content:
    plain = _canonical(config, "config")
    return {
        "schema": SCHEMA,
        "id": name,
        "config": plain,
        "result": result,
        "seconds": round(seconds, 3),
    }


def _read(path: Path, name: str, config: Any) -> Content:
    """The content of a run's file, of this very run."""
    wanted = f"the whole result of {name}, of schema {SCHEMA}"
    advice = "Update tailcut if a later one wrote it, else delete it: a rerun then makes it again"
    try:
        content = read_json(path)
    except StoreError as cause:
        raise StoreError(cause.seen, wanted=wanted, advice=advice) from None
    expected = _content(name, config, {}, 0.0)
    other = [key for key in ("schema", "id", "config") if content.get(key) != expected[key]]
    lacking = [key for key in expected if key not in content]
    if other or lacking:
        told = f"lacks {', '.join(lacking)}" if lacking else f"has another {', '.join(other)}"
        raise StoreError(f"{path} {told}", wanted=wanted, advice=advice)
    return content


def _tell(failed: dict[str, Exception], of: int, directory: Path) -> NoReturn:
    first, cause = next(iter(failed.items()))
    told = str(cause).rstrip(".")
    raise TailcutError(
        f"{len(failed)} of {of} runs failed, the first of them {first} ({told})",
        wanted="a result of every run",
        advice=f"The others are kept in {directory}: correct the cause and rerun, which tries only "
        "the failed ones again",
    ) from cause
