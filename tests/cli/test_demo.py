"""The demo, whole: the figures that the project states, and its pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from skxmodal.cli._demo import QUERIES
from skxmodal.datasets import load_openmoji


@pytest.fixture(scope="module")
def demo(skxmodal_command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    result = skxmodal_command("demo", "-o", folder)
    assert result.exit_code == 0, result.stderr
    return folder, result.stdout


def row_of(output, name):
    (line,) = [line for line in output.splitlines() if f"│ {name}" in line]
    return [float(cell) for cell in line.split("│")[2:-1]]


def test_recall_beside_chance(demo):
    _, output = demo
    assert "galleries of 476 pictures" in output
    chance = row_of(output, "chance")
    assert chance == [0.2, 1.1, 2.1, 0.2, 1.1, 2.1]
    least_squares, procrustes = (row_of(output, n) for n in ("least", "Procrustes"))
    assert 43 <= least_squares[2] < 50
    assert 49 <= procrustes[2] < 56
    cca = row_of(output, "CCA")
    assert 53 <= cca[2] < 60
    assert all(c > p for c, p in zip(cca, procrustes, strict=True))
    assert all(p > ls for p, ls in zip(procrustes, least_squares, strict=True))


def test_queries_are_no_names_and_have_a_picture_of_their_hits(demo):
    folder, output = demo
    names = {name.casefold() for name in load_openmoji().names}
    assert not names & {query.casefold() for query in QUERIES}
    assert len(list(folder.glob("*.png"))) == len(QUERIES) + 1
    with Image.open(folder / "demo.png") as overview:
        assert overview.height > 3 * 400
    for query in QUERIES:
        assert query in output
        path = folder / f"{query.lower().replace(' ', '-')}.png"
        pixels = np.asarray(Image.open(path).convert("RGB"))
        # The five tiles and the words above them hold ink.
        assert (pixels[40:90, 40:400] < 100).any()
        for i in range(5):
            left = 40 + i * 252
            assert (pixels[120:320, left + 10 : left + 214] < 200).any(), (query, i)


def test_what_keeps_the_rain_off_is_an_umbrella(demo, skxmodal_command):
    folder, output = demo
    lines = output.splitlines()
    answer = lines[lines.index("something to keep the rain off") + 1]
    assert answer.strip().startswith("umbrella")
    query = "something to keep the rain off"
    again = skxmodal_command("search", folder / "model", query, "-k", 1)
    assert "umbrella" in again.stdout


def test_pictures_find_the_names_of_the_gallery(demo, skxmodal_command):
    model = demo[0] / "model"
    hits = json.loads(skxmodal_command("search", model, "a cat", "--json").stdout)
    pictures = [hit["picture"] for hit in hits[0]["hits"]]
    result = skxmodal_command("search", model, "--picture", *pictures, "--json")
    assert result.exit_code == 0, result.stderr
    emoji = load_openmoji()
    name_of = dict(zip(map(str, emoji.pictures), emoji.names, strict=True))
    for answer in json.loads(result.stdout):
        for hit in answer["hits"]:
            assert hit["captions"] == [name_of[hit["picture"]]]
