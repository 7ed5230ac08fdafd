"""What SpectralProbe logs through two trainings: docs/hosts.md comes from what is committed."""

import re
import xml.etree.ElementTree as ET

import logged
import pytest
import torch
from texts import Texts

from tailcut.files.store import read_json
from tailcut.lab.data.clutter import clutter_problem
from tailcut.lab.data.problems import Problem
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.training.experiment import untrained
from tailcut.lab.training.recipe import Recipe

COMMAND = "python benchmarks/logged.py draw"
CURRENT = logged.DRAWN in logged.PAGE.read_text(encoding="utf-8")
"""Another release may draw the same numbers with other bytes."""


def test_the_page_and_its_figures_are_written_from_the_committed_results():
    for path, text in logged.files().items():
        there = path.read_text(encoding="utf-8")
        if path == logged.PAGE:
            there = re.sub(r"Drawn with .*\.", logged.DRAWN, there)
        if path == logged.PAGE or CURRENT:
            assert there == text, f"{path.name}: run `{COMMAND}`"


def test_every_figure_is_on_the_page():
    page = logged.PAGE.read_text(encoding="utf-8")
    shown = set(re.findall(r"\(hosts/([\w-]+\.svg)\)", page))
    assert shown == {path.name for path in logged.FIGURES.iterdir()}
    assert shown == {path.name for path in logged.files() if path.suffix == ".svg"}
    assert len(shown) == 4


@pytest.mark.parametrize("host", logged.HOSTS)
def test_the_alarm_stands_where_memorisation_begins(host):
    found = read_json(logged.RESULTS / f"{host}.json")
    alarms = [row["tailcut/alarm"] for row in found["epochs"]]
    assert [row["epoch"] for row in found["epochs"]] == list(range(1, len(alarms) + 1))
    assert alarms.index(1.0) + 1 == found["alarm"]
    assert found["epochs"][-1]["tailcut/memorisation"] > 0.9
    assert found["epochs"][-1][logged.TRUE] == pytest.approx(found["repair"]["before"], abs=1e-4)
    assert found["repair"]["verdict"] == "cut" or (
        found["repair"]["after"] == found["repair"]["before"]
    )


TINY = Recipe(epochs=2, batch_size=50, learning_rate=1e-3)


def well_formed(found, epochs):
    assert [row["epoch"] for row in found["epochs"]] == list(range(1, epochs + 1))
    assert all(0 <= row[logged.TRUE] <= 1 for row in found["epochs"])
    assert found["repair"]["verdict"] in {"cut", "leave", "unknown"}
    for draw in (logged.ranks, logged.memory):
        ET.fromstring(draw(found))


@pytest.mark.filterwarnings("ignore::tailcut.errors.TailcutWarning")  # it may memorise, or not
def test_a_training_under_lightning_is_read_back_from_its_csv():
    pytest.importorskip("lightning")
    problem = clutter_problem(rate=0.4, seed=0, train=200, holdout=100, test=50)
    network = untrained("maxcnn-4", problem, seed=0)
    well_formed(logged.lightning(problem, network, TINY), 2)


@pytest.mark.filterwarnings("ignore::tailcut.errors.TailcutWarning")
def test_a_training_under_the_trainer_is_read_back_from_its_log_history():
    transformers = pytest.importorskip("transformers")
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 20, (400, 9), generator=draw)
    ids[::2, 6:] = 0
    pool, test = (Texts(part, (part[:, 0] > 10).long()) for part in (ids[:300], ids[300:]))
    noise = noise_of("symmetric", 0.3)
    problem = Problem.of(pool, test, train=200, holdout=100, noise=noise, seed=0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "max_position_embeddings": 16}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20}
    torch.manual_seed(0)
    network = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes, **depth))
    well_formed(logged.trainer(problem, network, TINY), 2)
