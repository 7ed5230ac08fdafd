"""A grid of runs: a file each, and a rerun does what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from tailcut.errors import StoreError, TailcutError
from tailcut.files.store import SCHEMA, read_json, write_json
from tailcut.lab.grid.engines import Engine
from tailcut.lab.grid.identity import canonical, identity
from tailcut.lab.grid.work import Measured, Work

Content = dict[str, Any]


def run(
    configs: Iterable[Any],
    work: Work,
    directory: str | Path,
    engine: Engine | None = None,
    *,
    on_done: Callable[[Content], object] = lambda _: None,
) -> list[Content]:
    """Run every config whose file is not there yet, and return what all files hold.

    A file `<identity>.json` holds `schema`, `id`, `config`, `result` and `seconds`. It appears
    whole when its run ends, so a grid that was killed goes on from there, by whichever engine.

    Args:
        configs: Frozen dataclasses of plain values; equal ones are run once.
        work: A function at the top of a module, from a config to a dict of numbers, texts, arrays.
        directory: Of the files.
        engine: Where they run; processes of this machine if not given.
        on_done: Called with every run that ends here, with the content of its file.

    Returns:
        Contents of the files in the order of the configs.

    Raises:
        StoreError: A file that is damaged, or of another schema or config; nothing is run then.
        TailcutError: Runs that failed, after all others ended; or an engine that cannot be used.
    """
    directory, configs = Path(directory), list(configs)
    directory.mkdir(parents=True, exist_ok=True)
    by_name = {identity(config): config for config in configs}
    there = {name for name in by_name if _path(directory, name).exists()}
    done = {name: _read(directory, name, by_name[name]) for name in by_name if name in there}
    todo = {name: config for name, config in by_name.items() if name not in there}
    failed: dict[str, Exception] = {}
    with closing((engine or Engine()).outcomes(work, todo)) as outcomes:
        for name, outcome in outcomes:
            if isinstance(outcome, Exception):
                failed[name] = outcome
            else:
                done[name] = _written(directory, name, todo[name], outcome)
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
    return {
        config: _read(directory, name, config)
        for config, name in names.items()
        if _path(directory, name).exists()
    }


def _path(directory: str | Path, name: str) -> Path:
    return Path(directory) / f"{name}.json"


def _written(directory: Path, name: str, config: Any, outcome: Measured) -> Content:
    write_json(_path(directory, name), _content(name, config, *outcome))
    return _read(directory, name, config)


def _content(name: str, config: Any, result: Content, seconds: float) -> Content:
    plain = canonical(config, "config")
    return {
        "schema": SCHEMA,
        "id": name,
        "config": plain,
        "result": result,
        "seconds": round(seconds, 3),
    }


def _read(directory: str | Path, name: str, config: Any) -> Content:
    """The content of a run's file, of this very run."""
    path = _path(directory, name)
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
        text = f"lacks {', '.join(lacking)}" if lacking else f"has another {', '.join(other)}"
        raise StoreError(f"{path} {text}", wanted=wanted, advice=advice)
    return content


def _tell(failed: dict[str, Exception], of: int, directory: Path) -> NoReturn:
    first, cause = next(iter(failed.items()))
    text = str(cause).rstrip(".")
    raise TailcutError(
        f"{len(failed)} of {of} runs failed, the first of them {first} ({text})",
        wanted="a result of every run",
        advice=f"The others are kept in {directory}: correct the cause and rerun, which tries only "
        "the failed ones again",
    ) from cause
