"""A small folder of real pictures, and a model that the command fitted on it."""

from __future__ import annotations

import shutil

import pytest
from click.testing import CliRunner

from skxmodal import CCAMapper, CrossModalRetriever, ImageEncoder, TextEncoder
from skxmodal.cli._app import app
from skxmodal.datasets import load_captioned_images

EVERY = 40


@pytest.fixture(scope="session")
def skxmodal_command():
    """Run the command in this process."""

    def run(*arguments, **options):
        return CliRunner().invoke(app, [str(a) for a in arguments], **options)

    return run


@pytest.fixture(scope="session")
def photos(captioned_folder, tmp_path_factory):
    """49 emoji with two captions each, as people keep their pictures."""
    folder = tmp_path_factory.mktemp("photos")
    captioned_folder(folder, every=EVERY)
    return folder


@pytest.fixture(scope="session")
def other_photos(emoji, tmp_path_factory):
    """47 other emoji, whose files' names are the captions."""
    folder = tmp_path_factory.mktemp("others")
    fitted = set(emoji.groups[::EVERY])
    for row in range(EVERY // 2, len(emoji.names), EVERY):
        if emoji.groups[row] in fitted:
            continue
        shutil.copy(emoji.pictures[row], folder / f"{emoji.names[row]}.png")
    return folder


@pytest.fixture(scope="session")
def model(photos, skxmodal_command, tmp_path_factory):
    """What ``skxmodal fit`` made of the photos."""
    folder = tmp_path_factory.mktemp("fitted") / "model"
    result = skxmodal_command("fit", photos, "-o", folder)
    assert result.exit_code == 0, result.stderr
    assert "98 captions of 49 pictures" in result.stdout
    assert f'skxmodal search {folder} "' in result.stdout
    return folder


@pytest.fixture(scope="session")
def saved_in_python(photos, tmp_path_factory):
    """The same retriever as the model's, saved without what the command knows."""
    data = load_captioned_images(photos)
    search = CrossModalRetriever(
        CCAMapper(), query_encoder=TextEncoder(), target_encoder=ImageEncoder()
    ).fit(data.captions, data.images)
    return search.save(tmp_path_factory.mktemp("saved") / "model")
