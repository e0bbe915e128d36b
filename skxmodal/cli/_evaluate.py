"""``skxmodal evaluate``: recall of a saved model on other pictures."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skxmodal.cli._console import (
    Progress,
    Stopped,
    common_options,
    plain_warnings,
    results,
)

if TYPE_CHECKING:
    from skxmodal.cli._model import SearchModel


@click.command(short_help="Measure a model on other captioned pictures.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path))
@click.option("--split", multiple=True, help="Use this split alone. Repeatable.")
@click.option(
    "--image-folder",
    type=click.Path(path_type=Path),
    help="Folder that the names in a captions file start from.",
)
@click.option(
    "--skip-missing",
    is_flag=True,
    help="Go without pictures that are not there, instead of stopping.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@common_options
def evaluate(
    model: Path,
    pictures: Path,
    split: tuple[str, ...],
    image_folder: Path | None,
    skip_missing: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure how well MODEL finds the captioned PICTURES by their captions.

    PICTURES comes in any layout that 'skxmodal fit' takes, and should be
    pictures that the model was not fitted on. R@K is the share of queries
    with a right answer among the first K; the gallery is PICTURES alone,
    and a larger gallery is harder, so its size is printed beside.

    \b
    Examples:
      skxmodal evaluate model held-out-photos
      skxmodal evaluate model dataset_flickr8k.json --split test
      skxmodal evaluate model held-out-photos --json
    """
    from skxmodal.cli._model import SearchModel
    from skxmodal.cli._scores import chance_of, recall_table, scores_of
    from skxmodal.datasets import load_captioned_images
    from skxmodal.metrics import LeakageWarning, retrieval_ranks

    progress = Progress(quiet=quiet or as_json)
    loaded = SearchModel.load(model, progress)
    with plain_warnings(progress):
        data = load_captioned_images(
            pictures,
            image_folder=image_folder,
            split=split or None,
            on_missing="warn" if skip_missing else "raise",
        )
        first_rows, _ = loaded.retriever.gallery_items(data.images)
        n_pictures = len(first_rows)
        if n_pictures < 2:
            raise Stopped(f"{pictures} has one picture: nothing to tell it from.")
        progress.say(f"Encoding {len(data.captions)} captions, {n_pictures} pictures")
        # Said below, with the number of pictures and without Python's remedies.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeakageWarning)
            ranks = retrieval_ranks(loaded.retriever, data.captions, data.images)
        seen = _n_seen(loaded, data.images)
    scores, chance = scores_of(ranks), chance_of(ranks)
    if as_json:
        report = {"scores": scores, "chance": chance, "pictures also fitted on": seen}
        click.echo(json.dumps(report, indent=1))
        return
    console = results()
    rows = {"model": scores, "chance": chance}
    console.print(recall_table(f"Recall on {pictures}, in per cent", rows))
    for name, side in scores.items():
        correction = side.get("hubness")
        console.print(
            f"{name}: {side['queries']} queries in a gallery of {side['gallery']}, "
            f"median rank {side['median rank']:g}"
            + (f", corrected for hubness: {correction}" if correction else ""),
            soft_wrap=True,
        )
    if seen:
        console.print(
            f"{seen} of the {n_pictures} pictures were in the fit: the figures are too "
            "good.",
            style="yellow",
            soft_wrap=True,
        )


def _n_seen(model: SearchModel, images: list[Path]) -> int:
    """How many pictures have the content of one that the model was fitted on."""
    content_keys = model.retriever.target_encoder_.content_keys
    fitted = [path for path in model.pictures if path.is_file()]
    known = set(content_keys(fitted)) if fitted else set()
    return len(known & set(content_keys(sorted(set(images)))))
