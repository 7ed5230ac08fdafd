"""The directory of an audit: tables, page, numbers; and the list of the corrected data set."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from parts import COLOURS
from tailcut.cli.audits import named
from tailcut.cli.main import main
from tailcut.cli.opening import Opened
from tailcut.verbs.corrected import corrected

NAMES = ("amber <b>", "green", "red")


def pictures(place, n, wrong, seed):
    """Pictures of a colour in folders of that name, some in that of the next colour."""
    random = np.random.default_rng(seed)
    for number in range(n):
        label = number % 3
        pixels = random.integers(0, 120, (4, 4, 3))
        pixels[:, :, label] += 130
        folder = place / NAMES[(label + (number in wrong)) % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:03}.png")


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The directory of an audit of 240 pictures, 24 of them in the wrong folder."""
    place = tmp_path_factory.mktemp("audit")
    pictures(place / "set", 240, set(range(0, 240, 10)), seed=0)
    pictures(place / "held", 120, set(range(0, 120, 10)), seed=1)
    (place / "colours.py").write_text(COLOURS)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        patched.syspath_prepend(str(place))
        words = "audit colours:model --data imagefolder:set --holdout imagefolder:held --quiet"
        words += " --views none --depth head --out run --export fixed.csv --relabel 0.9 --worst 5"
        assert main(words.split()) == 0
    return place


def test_a_run_holds_the_table_twice_the_page_and_the_numbers(audited):
    names = {path.name for path in (audited / "run").iterdir()}
    assert names >= {"issues.csv", "issues.parquet", "report.html", "audit.json"}
    table = pd.read_csv(audited / "run" / "issues.csv", index_col="index")
    pd.testing.assert_frame_equal(
        pd.read_parquet(audited / "run" / "issues.parquet"), table, check_dtype=False
    )
    known = json.loads((audited / "run" / "audit.json").read_text())
    assert known["samples"] == 240
    assert known["issues"] == table["is_label_issue"].sum()
    flagged = table["key"][table["is_label_issue"]].str[-7:-4].astype(int)
    assert (flagged % 10 == 0).all()
    assert 18 <= len(flagged) <= 24
    low, high = known["noise_interval"]
    assert low < 0.1 < high


def test_rank_1_is_the_most_suspicious_and_names_are_those_of_the_folders(audited):
    table = pd.read_csv(audited / "run" / "issues.csv").sort_values("rank")
    assert table["rank"].tolist() == list(range(1, 241))
    flagged = table["is_label_issue"].sum()
    assert table["is_label_issue"].head(flagged).all()
    assert table["label_score"].iloc[flagged:].is_monotonic_increasing
    assert (table["p_wrong"].head(flagged).diff().dropna() <= 0).all()
    assert set(table["given_name"]) == set(NAMES)
    assert (table["given_name"] == table["key"].str.split("/").str[0]).all()


def test_the_page_shows_the_worst_with_their_pictures_and_every_name_is_escaped(audited):
    page = (audited / "run" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 5
    assert "amber &lt;b&gt;" in page
    assert "<b>" not in page
    assert "<script" not in page
    assert len(page) < 6_000_000


def test_what_is_exported_lists_each_row_with_the_label_it_is_to_have(audited):
    fixed = pd.read_csv(audited / "fixed.csv")
    assert list(fixed) == ["index", "key", "given_label", "label", "action", "p_wrong"]
    table = pd.read_csv(audited / "run" / "issues.csv")
    relabelled = fixed["action"] == "relabel"
    assert relabelled.sum() > 12
    assert (fixed["label"] == table["predicted_label"])[relabelled].all()
    assert (fixed["label"] == fixed["given_label"])[~relabelled].all()
    assert sorted(path.name for path in (audited / "set").rglob("*.png")) == [
        f"{number:03}.png" for number in range(240)
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--export fixed.xml", "--export fixed.xml; wanted a file .csv or .jsonl"),
        ("--drop 40", "--drop 40.0; wanted a probability, 0 to 1"),
        ("--worst -1", "--worst -1; wanted 0 or more"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(words, told, capsys):
    assert main(f"audit nothing:here --data imagefolder:none {words}".split()) == 2
    assert told in capsys.readouterr().err


TABLE = pd.DataFrame(
    {
        "is_label_issue": [True, True, False, True],
        "given_label": [0, 1, 2, 0],
        "predicted_label": [1, 2, 0, 2],
        "p_wrong": [0.95, 0.7, 0.99, 0.55],
    },
    index=pd.Index([7, 8, 9, 10], name="index"),
)


def test_flagged_rows_are_relabelled_dropped_or_kept_by_thresholds():
    found = corrected(TABLE, drop=0.6, relabel=0.9)
    assert found["index"].tolist() == [7, 8, 9, 10]
    assert found["action"].tolist() == ["relabel", "drop", "keep", "keep"]
    assert found["label"].tolist() == [1, 1, 2, 0]
    assert (corrected(TABLE, drop=None)["action"] == "keep").all()
    with pytest.raises(ValueError, match=r"relabel=1.5; wanted a probability"):
        corrected(TABLE, relabel=1.5)


def test_rank_follows_the_score_where_the_probability_says_nothing():
    """Where no label is wrong by the held-out ones, every probability is 0."""
    table = TABLE.assign(is_label_issue=False, p_wrong=0.0, label_score=[0.9, 0.2, 0.7, 0.4])
    opened = Opened(torch.nn.Identity(), [], None, None, None, None, "", [])
    assert named(table, opened)["rank"].tolist() == [4, 1, 3, 2]
