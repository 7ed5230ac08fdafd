"""The audit's table says of each row which one it is."""

import numpy as np
import pandas as pd
import torch
from PIL import Image

from parts import COLOURS
from tailcut.cli.main import main


def test_a_path_stands_beside_every_label_of_a_folder(tmp_path, monkeypatch, capsys):
    """One picture in a wrong folder is flagged, by the name of its file."""
    random = np.random.default_rng(0)
    for number in range(90):
        label = number % 3
        pixels = random.integers(0, 120, (4, 4, 3))
        pixels[:, :, label] += 130
        place = tmp_path / "set" / "abc"[(label + (number == 44)) % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number:02}.png")
    (tmp_path / "colours.py").write_text(COLOURS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    words = "audit colours:model --data imagefolder:set --views none --depth head --quiet"
    assert main([*words.split(), "--out", "issues.csv"]) == 0, capsys.readouterr().err
    table = pd.read_csv("issues.csv")
    assert list(table.columns[:3]) == ["index", "key", "is_label_issue"]
    assert len(table) == 90
    assert all((tmp_path / "set" / key).is_file() for key in table["key"])
    assert table.sort_values("label_score")["key"].iloc[0] == "a/44.png"
