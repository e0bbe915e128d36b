"""``skxmodal evaluate``: recall of a saved model on other pictures."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import click

from skxmodal.cli._console import (
    Progress,
    Stopped,
    common_options,
    plain_warnings,
    results,
)
from skxmodal.cli._data import Pairs, data_options, load_pairs, use_readable


@click.command(short_help="Measure a model on other captioned pictures.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path))
@data_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@common_options
def evaluate(
    model: Path,
    pictures: Path,
    split: tuple[str, ...],
    image_folder: Path | None,
    skip_missing: bool,
    skip_unreadable: bool,
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
    from skxmodal.metrics import LeakageWarning, retrieval_ranks

    progress = Progress(quiet=quiet, as_json=as_json)
    loaded = SearchModel.load(model, progress)

    def measure(pairs: Pairs) -> tuple[Any, int, int]:
        captions, images = pairs.captions, pairs.images
        first_rows, item_of_row = loaded.retriever.gallery_items(images)
        n_pictures = len(first_rows)
        if n_pictures < 2:
            raise Stopped(f"{pictures} has one picture: nothing to tell it from.")
        progress.say(f"Encoding {len(captions)} captions, {n_pictures} pictures")
        # Said below, with the number of pictures and without Python's remedies.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeakageWarning)
            ranks = retrieval_ranks(loaded.retriever, captions, images)
        _, fitted = loaded.retriever.seen_in_training(captions, images)
        return ranks, n_pictures, len(set(item_of_row[fitted].tolist()))

    with plain_warnings(progress):
        pairs = load_pairs(pictures, image_folder, split, skip_missing=skip_missing)
        (ranks, n_pictures, seen), pairs = use_readable(
            measure, pairs, progress, skip=skip_unreadable
        )
    scores, chance = scores_of(ranks), chance_of(ranks)
    if as_json:
        report = {
            "scores": scores,
            "chance": chance,
            "pictures also fitted on": seen,
            "pictures left out": {
                "missing": pairs.n_missing,
                "unreadable": pairs.n_unreadable,
            },
        }
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
