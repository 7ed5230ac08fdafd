"""The page of an audit."""

import base64
import io

import pandas as pd
import torch
from PIL import Image

from tailcut.report.gallery import confusions, gallery, suspect, thumbnail

ROW = {"key": "a/1.png", "given_name": "cat", "suggested_name": "dog", "p_wrong": 0.93}
SUMMARY = {
    "title": "tailcut audit",
    "samples": 4,
    "noise_rate": 0.25,
    "noise_interval": [0.2, 0.3],
    "expected_precision": 0.9,
    "expected_recall": 0.8,
}
ISSUES = pd.DataFrame(
    {
        "is_label_issue": [True, True, True, False],
        "given_name": ["cat", "cat", "dog", "dog"],
        "suggested_name": ["dog", "dog", "cat", "dog"],
    }
)


def opened(uri):
    kind, _, content = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_thumbnails_are_small_and_keep_their_shape():
    assert opened(thumbnail(Image.new("RGB", (400, 200)))).size == (96, 48)
    assert opened(thumbnail(Image.new("L", (10, 20)))).size == (10, 20)
    assert opened(thumbnail(torch.rand(3, 8, 12))).size == (12, 8)
    assert opened(thumbnail(torch.zeros(1, 8, 8))).mode == "RGB"
    assert thumbnail(torch.rand(5)) is None
    assert thumbnail("a text") is None


def test_texts_are_shown_as_they_are_up_to_a_length():
    assert suspect(ROW, "short").text == "short"
    assert len(suspect(ROW, "x" * 1000).text) == 400


def test_pairs_are_counted_among_what_is_flagged():
    assert confusions(ISSUES) == [("cat", "dog", 2), ("dog", "cat", 1)]


def test_the_page_tells_the_numbers_and_has_a_filter_for_each_pair():
    page = gallery(SUMMARY, ISSUES, [suspect(ROW, "<i>text</i>")])
    for told in ("3 of 4", "25.0", "20.0", "90.0", "93.0", "&lt;i&gt;text", "cat → dog"):
        assert told in page
    assert 'for="pair1"' in page
    assert "cat,dog,0.9300" in page


def test_what_is_unknown_is_said_to_be():
    unknown = SUMMARY | {"noise_rate": None, "noise_interval": None, "expected_precision": None}
    page = gallery(unknown, ISSUES, [])
    assert "unknown" in page
    assert "bring 500 held-out samples" in page
