"""A GPU gives what the processor gives; these tests need one, and CI has none."""

import copy
import subprocess
import sys

import pytest
import torch

import tailcut
from tailcut.lab.data.clutter import clutter_problem
from tailcut.lab.training.augmentation import flipped_and_cropped
from tailcut.lab.training.experiment import conduct
from tailcut.lab.training.recipe import CLUTTER, Recipe

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@pytest.fixture(scope="module")
def trained():
    problem = clutter_problem(rate=0.4, seed=0, train=2_000, holdout=300, test=500)
    return conduct("maxcnn", problem, CLUTTER, seed=0, device="cuda")


def parts(problem):
    return [part.loader(256) for part in (problem.train, problem.holdout, problem.test)]


def repaired(network, problem, device=None):
    train, holdout, test = parts(problem)
    return tailcut.repair(network, train, holdout, clean=test, device=device, progress=False)


def test_training_on_it_fits_the_labels_and_leaves_the_states_on_the_processor(trained):
    assert trained.fit > 0.95
    assert next(trained.network.parameters()).is_cuda
    for state in (trained.trained.last, trained.trained.oracle, trained.trained.averages["EMA"]):
        assert all(not tensor.is_cuda for tensor in state.values())


def test_a_repair_there_is_that_of_the_processor(trained):
    there = repaired(trained.network, trained.problem)
    here = repaired(copy.deepcopy(trained.network).cpu(), trained.problem)
    assert next(there.model.parameters()).is_cuda
    assert there.summary["layers"] == here.summary["layers"]
    before, after = (there.summary["clean"][key] for key in ("before", "after"))
    assert before == pytest.approx(here.summary["clean"]["before"], abs=0.01)
    assert after == pytest.approx(here.summary["clean"]["after"], abs=0.03)
    ours, theirs = (fix.candidates["log_loss"].to_numpy() for fix in (there, here))
    assert len(ours) == len(theirs)
    assert abs(ours[0] - theirs[0]) < 0.01


def test_batches_may_lie_there_already(trained):
    there = repaired(trained.network, trained.problem.to("cuda"))
    assert there.summary["clean"]["after"] >= there.summary["clean"]["before"]


def test_a_network_of_the_processor_goes_there_and_back(trained, tmp_path):
    network = copy.deepcopy(trained.network).cpu()
    fix = repaired(network, trained.problem, device="cuda")
    assert not next(network.parameters()).is_cuda
    fix.save(tmp_path / "run")
    before = {key: value.cpu() for key, value in network.state_dict().items()}
    undone = fix.undo().state_dict()
    assert all(torch.equal(undone[key].cpu(), value) for key, value in before.items())


def test_the_other_verbs_run_there(trained):
    train, holdout, _ = parts(trained.problem)
    issues = tailcut.find_label_issues(trained.network, train, holdout, progress=False)
    assert len(issues) == len(trained.problem.train)
    told = tailcut.diagnose(trained.network, train, holdout, progress=False)
    cut = tailcut.truncate(trained.network, told.spectrum, 16)
    assert next(cut.parameters()).is_cuda


def test_bfloat16_trains_and_crops_are_those_of_the_processor():
    problem = clutter_problem(rate=0.0, seed=0, train=500, holdout=100, test=100)
    recipe = Recipe(epochs=2, augment=True, precision="bfloat16")
    assert len(conduct("maxcnn", problem, recipe, seed=0, device="cuda").trained.epochs) == 2
    images = torch.rand(8, 3, 16, 16)
    here, there = (
        flipped_and_cropped(each, torch.Generator().manual_seed(0)).cpu()
        for each in (images, images.cuda())
    )
    assert torch.equal(here, there)


def test_the_command_line_takes_it(tmp_path):
    words = [sys.executable, "-m", "tailcut", "demo", "--device", "cuda", "--out", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
