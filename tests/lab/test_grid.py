from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailcut.errors import StoreError, TailcutError
from tailcut.lab.grid.engines import Engine
from tailcut.lab.grid.identity import identity, product
from tailcut.lab.grid.on_ray import _unpacked
from tailcut.lab.grid.pool import _pool_outcome
from tailcut.lab.grid.runs import run
from tailcut.lab.grid.work import RunError, measured


@dataclass(frozen=True)
class Training:
    data: str
    network: str
    noise: str = "symmetric"
    rate: float = 0.4
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    epochs: int = 3
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Deep:
    recipe: Recipe = Recipe()
    extras: dict = field(default_factory=dict)
    augment: bool = False
    name: object = None


@dataclass(frozen=True)
class Job:
    """A run for tests: `folder` takes a line for every start."""

    folder: str
    seed: int = 0
    mood: str = "good"


def work(job):
    """What every engine is given here."""
    with (Path(job.folder) / "starts").open("a") as file:
        file.write(f"{job.seed}\n")
    tries = starts(job.folder)[job.seed]
    if tries <= {"bad": 9, "bad twice": 2, "bad at first": 1}.get(job.mood, 0):
        raise StoreError("nothing", wanted="something", advice="Look")
    if job.mood == "dies" or (job.mood == "dies at first" and tries == 1):
        os._exit(3)
    if job.mood == "exits":
        sys.exit("enough")
    if job.mood == "waits":
        wait_for_gate(job)
    if job.mood == "odd":
        return {"path": Path("x")}
    if job.mood == "list":
        return [1]
    return result_of(job)


def result_of(job):
    return {"square": job.seed**2, "third": job.seed / 3}


def wait_for_gate(job):
    while not (Path(job.folder) / "gate").exists():
        (Path(job.folder) / f"alive-{job.seed}").write_text(str(time.time()))
        time.sleep(0.01)


def work_and_tell_threads(job):
    return {**work(job), "threads": torch.get_num_threads()}


def starts(folder):
    """How often each seed was started."""
    path = Path(folder) / "starts"
    return Counter(int(line) for line in path.read_text().split()) if path.exists() else Counter()


def jobs(tmp_path, *moods):
    return [Job(str(tmp_path), seed, mood) for seed, mood in enumerate(moods)]


def results(contents):
    return [content["result"] for content in contents]


def told(call, *args, kind=TailcutError, **options):
    with pytest.raises(kind) as caught:
        call(*args, **options)
    return str(caught.value)


# --- identity and product


def test_an_identity_is_readable_and_stays_what_it_was():
    assert identity(Training("digits", "mlp", seed=3)) == "digits-mlp-symmetric-0.4-3-f69870e1"
    assert identity(Deep(augment=True)) == "augment-f386029e"
    assert identity(Deep()) == "a1c25575"


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # every character, the wildest too
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def told_apart(value):
    """With True made unequal to 1, which it is in JSON and not in Python."""
    if isinstance(value, dict):
        return {key: told_apart(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [told_apart(item) for item in value]
    return ("truth", value) if isinstance(value, bool) else value


@given(st.lists(st.builds(Deep, name=plain, augment=st.booleans()), max_size=6))
def test_different_configs_have_different_identities_and_equal_ones_the_same(configs):
    for one in configs:
        for other in configs:
            same = told_apart(asdict(one)) == told_apart(asdict(other))
            assert (identity(one) == identity(other)) == same


@given(st.builds(Deep, name=plain))
def test_an_identity_names_a_file_on_every_system(config):
    name = identity(config)
    assert len(name) < 100
    assert not name.startswith((".", "-"))
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_equal_values_are_one_config_however_they_are_written():
    assert identity(Training("a", "b", rate=0)) == identity(Training("a", "b", rate=0.0))
    assert identity(Training("a", "b", rate=0)) == identity(Training("a", "b", rate=-0.0))
    assert identity(Deep(name=(1, 2))) == identity(Deep(name=[1, 2]))
    assert identity(Deep(name=np.float64(0.5))) == identity(Deep(name=0.5))
    assert identity(Deep(extras={"a": 1, "b": 2})) == identity(Deep(extras={"b": 2, "a": 1}))
    assert identity(Deep(name=Enum("Mode", {"fast": "f"}, type=str).fast)) == identity(
        Deep(name="f")
    )


def test_nested_values_count_too():
    assert identity(Deep(Recipe(epochs=4))) != identity(Deep())


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (float("nan"), "field 'name' of a config is nan, of type float"),
        (np.int64(3), f"field 'name' of a config is {np.int64(3)!r}, of type int64"),
        ({"a": {1}}, "field 'name.a' of a config is {1}, of type set"),
        ({1: 2}, "field 'name' of a config is {1: 2}, of type dict"),
    ],
    ids=str,
)
def test_values_that_are_not_plain_are_refused(value, seen):
    assert told(identity, Deep(name=value)) == (
        f"{seen}; wanted text, a finite number, true, false or None, or lists and dicts of these. "
        "Give a plain value, and make of it in the run what the run needs."
    )


@pytest.mark.parametrize(("config", "kind"), [({"seed": 1}, "dict"), (Deep, "type")])
def test_what_is_no_dataclass_is_refused(config, kind):
    assert told(identity, config) == (
        f"a config is of type {kind}; wanted an instance of a frozen dataclass. Describe a run by "
        "a dataclass of plain values."
    )


def test_a_product_has_every_combination_and_the_defaults():
    axes = {"data": ["digits"], "network": ("mlp", "cnn"), "seed": range(2)}
    assert product(Training, axes) == [
        Training("digits", "mlp", seed=0),
        Training("digits", "mlp", seed=1),
        Training("digits", "cnn", seed=0),
        Training("digits", "cnn", seed=1),
    ]
    assert product(Deep, {}) == [Deep()]
    assert product(Deep, {"name": []}) == []


def test_a_product_over_unknown_or_lacking_fields_names_them():
    assert told(product, Training, {"data": ["a"], "sed": [1], "nois": [2]}) == (
        "Training has no field sed, nois and has no default for network; wanted axes that are "
        "fields of it: data, network, noise, rate, seed. Name an axis for every field without "
        "default, and no other."
    )


@pytest.mark.parametrize("values", ["digits", 3])
def test_an_axis_that_is_no_list_is_refused(values):
    assert told(product, Training, {"data": values, "network": ["mlp"]}) == (
        f"axis 'data' is {values!r}; wanted a list of values. Write [{values!r}] for a single one."
    )


# --- files


def test_the_pool_gives_what_calling_gives_and_files_say_which_run_it_was(tmp_path):
    configs, runs, done = jobs(tmp_path, *["good"] * 3), tmp_path / "runs", []
    asked = [*configs, configs[0]]
    contents = run(asked, work_and_tell_threads, runs, Engine(workers=2), on_done=done.append)
    threads = {"threads": max(1, os.cpu_count() // 2)}
    assert results(contents) == [result_of(job) | threads for job in asked]
    assert sorted(content["id"] for content in done) == sorted(map(identity, configs))
    for job, content in zip(asked, contents, strict=True):
        written = json.loads((runs / f"{identity(job)}.json").read_text())
        assert len(written.pop("sha256")) == 64
        assert written == content
        assert list(content) == ["schema", "id", "config", "result", "seconds"]
        assert content["config"] == asdict(job)
        assert content["seconds"] >= 0
    assert starts(tmp_path) == {0: 1, 1: 1, 2: 1}
    assert len(list(runs.iterdir())) == 3


def test_what_is_there_is_not_run_again_and_costs_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr("tailcut.lab.grid.pool._Lane", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    (job,) = jobs(tmp_path, "good")
    content = {"schema": 1, "id": identity(job), "config": asdict(job), "result": {}, "seconds": 1}
    (tmp_path / f"{identity(job)}.json").write_text(json.dumps(content))
    assert run([job], work, tmp_path) == [content]
    assert run([job], work, tmp_path, Engine("ray")) == [content]
    assert run([], work, tmp_path) == []


CHANGES = {
    "half of it": (lambda text: text[:40], " is not a JSON object ("),
    "a later schema": (lambda text: text.replace('"schema": 1', '"schema": 2'), " has schema 2"),
    "an earlier schema": (
        lambda text: text.replace('"schema": 1', '"schema": 0'),
        " has another schema",
    ),
    "another config": (lambda text: text.replace('"seed": 0', '"seed": 5'), " has another config"),
    "no result": (lambda text: text.replace('"result"', '"other"'), " lacks result"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_of_something_else_stops_the_grid_before_it_runs(tmp_path, change):
    first, second = jobs(tmp_path, "good", "good")
    name = identity(first)
    content = {"schema": 1, "id": name, "config": asdict(first), "result": {}, "seconds": 1.0}
    path = tmp_path / f"{name}.json"
    spoil, seen = CHANGES[change]
    path.write_text(spoil(json.dumps(content)))
    message = told(run, [second, first], work, tmp_path, kind=StoreError)
    assert message.startswith(f"{path}{seen}")
    assert message.endswith(
        f"; wanted the whole result of {name}, of schema 1. Update tailcut if a later one wrote "
        "it, else delete it: a rerun then makes it again."
    )
    assert not starts(tmp_path)


# --- failures


def failure(count, of, job, cause, folder):
    return (
        f"{count} of {of} runs failed, the first of them {identity(job)} ({cause}); wanted a "
        f"result of every run. The others are kept in {folder}: correct the cause and rerun, "
        "which tries only the failed ones again."
    )


NOTHING = "StoreError: nothing; wanted something. Look"


def test_runs_that_fail_are_tried_again_then_told_and_the_others_kept(tmp_path):
    configs, runs = jobs(tmp_path, "good", "bad", "bad at first", "dies"), tmp_path / "runs"
    with pytest.raises(TailcutError) as caught:
        run(configs, work, runs, Engine(workers=1))
    assert str(caught.value) == failure(2, 4, configs[1], NOTHING, runs)
    assert "in work" in str(caught.value.__cause__.__cause__)  # the traceback
    assert starts(tmp_path) == {0: 1, 1: 2, 2: 2, 3: 2}
    assert {path.stem for path in runs.iterdir()} == {identity(configs[0]), identity(configs[2])}


def test_a_run_whose_process_dies_says_so():
    future = Future()
    future.set_exception(BrokenProcessPool("told in another way by every Python"))
    assert str(_pool_outcome(future)) == (
        "its process died: out of memory, a module that cannot be imported there, or a script "
        "without `if __name__ == '__main__':`"
    )


@pytest.mark.parametrize(
    ("mood", "cause"),
    [
        ("bad", NOTHING + "."),
        ("exits", "SystemExit: enough"),
        ("odd", f"AttributeError: '{type(Path()).__name__}' object has no attribute 'tolist'"),
        ("list", "TypeError: the run returned a list instead of a dict"),
    ],
)
def test_what_goes_wrong_in_a_run_can_be_pickled(tmp_path, mood, cause):
    (job,) = jobs(tmp_path, mood)
    with pytest.raises(RunError) as caught:
        measured(work, job)
    assert str(pickle.loads(pickle.dumps(caught.value))) == cause


def test_arrays_become_lists_on_the_way():
    arrays = {"tensor": torch.arange(3), "array": np.eye(2), "scalar": np.float32(0.5), 1: (2,)}
    result, _ = measured(lambda _: arrays, None)
    assert result == {"tensor": [0, 1, 2], "array": [[1, 0], [0, 1]], "scalar": 0.5, "1": [2]}


def test_work_that_no_process_can_import_is_refused(tmp_path):
    assert told(run, jobs(tmp_path, "good"), lambda _: {}, tmp_path) == (
        "test_work_that_no_process_can_import_is_refused.<locals>.<lambda> cannot be sent to a "
        "process; wanted a function at the top of a module. Move it there."
    )


def test_unknown_engines_and_no_workers_are_refused(tmp_path):
    assert told(Engine, "dask") == ("engine 'dask'; wanted one of pool, ray. Name one of them.")
    assert told(Engine, workers=0) == ("0 workers; wanted 1 or more. Give none for all.")


# --- interruptions


def environment():
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent)])
    return {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "7"}


def half_a_grid(folder):
    """In a process of its own: one run ends, the other waits for a gate.

    A process that a shell started in its background ignores interrupts, as do its children.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run(jobs(folder, "good", "waits"), work, Path(folder) / "runs", Engine(workers=1))


def appeared(condition, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def still(path):
    """Whether nobody writes to it any more."""
    before = path.read_text()
    time.sleep(0.3)
    return path.read_text() == before


def half_a_grid_stopped(tmp_path, by):
    """Its only file, and what it said, once its process is seen to be gone."""
    code = f"import test_grid; test_grid.half_a_grid({str(tmp_path)!r})"
    running = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stderr=subprocess.PIPE, text=True
    )
    alive = tmp_path / "alive-1"
    assert appeared(alive.exists)
    running.send_signal(by)
    _, said = running.communicate(timeout=60)
    assert running.returncode == -by
    assert appeared(lambda: still(alive))
    (first,) = (tmp_path / "runs").iterdir()  # and no temporary file
    return first, said


def test_a_grid_that_is_killed_half_way_leaves_no_process_and_goes_on(tmp_path):
    first, _ = half_a_grid_stopped(tmp_path, signal.SIGKILL)
    configs, before = jobs(tmp_path, "good", "waits"), first.stat().st_mtime_ns
    assert first.stem == identity(configs[0])  # named by another process
    (tmp_path / "gate").touch()
    contents = run(configs, work, tmp_path / "runs", Engine(workers=1))
    assert results(contents) == [result_of(job) for job in configs]
    assert starts(tmp_path) == {0: 1, 1: 2}
    assert first.stat().st_mtime_ns == before


def test_an_interrupted_grid_ends_at_once_and_keeps_whole_files(tmp_path):
    first, said = half_a_grid_stopped(tmp_path, signal.SIGINT)
    assert said.count("Traceback") == 1
    assert said.endswith("KeyboardInterrupt\n")
    assert json.loads(first.read_text())["result"] == result_of(Job(""))


def test_what_on_done_raises_ends_the_engine_and_keeps_the_files(tmp_path, monkeypatch):
    ended = []

    def by_pool(work, todo, **options):
        try:
            yield from ((name, ({}, 1.0)) for name in todo)
        finally:
            ended.append(True)

    def stop(content):
        raise KeyboardInterrupt

    monkeypatch.setattr("tailcut.lab.grid.engines.by_pool", by_pool)
    configs = jobs(tmp_path, "good", "good")
    told(run, configs, work, tmp_path / "runs", on_done=stop, kind=KeyboardInterrupt)
    assert [path.stem for path in (tmp_path / "runs").iterdir()] == [identity(configs[0])]
    assert ended == [True]


# --- Ray


def test_ray_that_is_not_installed_is_told_by_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert told(run, jobs(tmp_path, "good"), work, tmp_path, Engine("ray")) == (
        "ray cannot be imported (import of ray halted; None in sys.modules); wanted tailcut with "
        "the extra 'ray'. Run: pip install 'tailcut[ray]', or take the engine 'pool'."
    )


class RayOfOneGpu:
    """Stands in for Ray up to its first task, and takes down what it is asked for."""

    def __init__(self):
        self.calls = []

    def is_initialized(self):
        return False

    def init(self, *args, **options):
        self.calls.append((args, options))

    def cluster_resources(self):
        return {"CPU": 2.0, "GPU": 1.0}

    def shutdown(self):
        self.calls.append("shutdown")

    def remote(self, _):
        raise LookupError


@pytest.fixture
def small_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", RayOfOneGpu())
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    return sys.modules["ray"]


def test_a_local_ray_is_not_waited_for_when_it_has_too_few_gpus(tmp_path, small_ray):
    engine = Engine("ray", workers=2, gpus=1.5)
    assert told(run, jobs(tmp_path, "good"), work, tmp_path, engine) == (
        "a run takes 1.5 GPUs and the local Ray has 1; wanted no more than there are, or the run "
        "would wait for ever. Lower gpus, or give the address of a cluster."
    )
    started = (("local",), {"num_cpus": 2, "include_dashboard": False})
    assert small_ray.calls == [started, "shutdown"]


@pytest.mark.parametrize(
    ("given", "from_environment"), [("a:1", None), (None, "a:1"), ("a:1", "b:2")]
)
def test_a_cluster_is_found_by_its_address(
    tmp_path, small_ray, monkeypatch, given, from_environment
):
    if from_environment:
        monkeypatch.setenv("RAY_ADDRESS", from_environment)
    with pytest.raises(LookupError):
        run(jobs(tmp_path, "good"), work, tmp_path, Engine("ray", address=given, gpus=9))
    assert small_ray.calls == [(("a:1",), {}), "shutdown"]


def test_ray_that_cannot_import_the_work_says_so_and_loses_no_words():
    lost = pickle.dumps(work).replace(b"test_grid", b"test_grip")
    with pytest.raises(RunError) as caught:
        _unpacked([], lost)
    assert str(caught.value) == "ModuleNotFoundError: No module named 'test_grip'"


def test_ray_goes_on_with_what_the_pool_began_and_the_pool_with_rays(tmp_path, monkeypatch):
    import ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    moods = ["good", "good", "bad twice", "bad at first", "dies at first"]
    configs, runs = jobs(tmp_path, *moods), tmp_path / "runs"
    pooled = run(configs[:1], work, runs)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        message = told(run, configs, work, runs, Engine("ray", workers=2))
        assert ray.is_initialized()
    finally:
        ray.shutdown()
    assert message == failure(1, 5, configs[2], NOTHING, runs)
    assert starts(tmp_path) == {0: 1, 1: 1, 2: 2, 3: 2, 4: 2}

    contents = run(configs, work, runs)
    assert contents[0] == pooled[0]
    assert results(contents) == [result_of(job) for job in configs]
    assert starts(tmp_path) == {0: 1, 1: 1, 2: 3, 3: 2, 4: 2}
