"""A model of real pictures, one caption of which tries to be a script."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from skxmodal.cli._console import Progress
from skxmodal.cli._fit import fit_model
from skxmodal.cli._model import SearchModel
from skxmodal.page._searches import Searches

EVERY = 45
SCRIPT = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="session")
def photos(captioned_folder, tmp_path_factory) -> Path:
    """Emoji with two captions each, and one with a third that holds a script."""
    folder = tmp_path_factory.mktemp("page") / "photos"
    folder.mkdir()
    captioned_folder(folder, every=EVERY)
    with (folder / "captions.csv").open("r+", newline="", encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
        csv.writer(file).writerow([last["image"], SCRIPT])
    return folder


@pytest.fixture(scope="session")
def search_model(photos) -> SearchModel:
    """A retriever fitted to the photos, as the command makes it."""
    with (photos / "captions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return fit_model(
        [row["caption"] for row in rows],
        [photos / row["image"] for row in rows],
        "procrustes",
        "all-MiniLM-L6-v2",
        "efficientnet-lite0",
        Progress(quiet=True),
    )


@pytest.fixture(scope="session")
def model(search_model, tmp_path_factory) -> Path:
    """The folder that the retriever is saved in."""
    folder = tmp_path_factory.mktemp("page-model") / "model"
    search_model.save(folder)
    return folder


@pytest.fixture(scope="module")
def searches(search_model):
    """What the page asks of the model."""
    searches = Searches(*search_model, search_model.caption_gallery())
    yield searches
    searches.close()
