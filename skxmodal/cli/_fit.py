"""``skxmodal fit``: captioned pictures in, a saved retriever out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skxmodal.cli._console import (
    Progress,
    Stopped,
    common_options,
    link,
    plain_warnings,
    results,
)
from skxmodal.cli._data import data_options, load_pairs, use_readable
from skxmodal.mappers import MAPPERS

if TYPE_CHECKING:
    from skxmodal.cli._model import SearchModel


@click.command(short_help="Fit a search model on captioned pictures.")
@click.argument("pictures", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to save the model in.",
)
@click.option(
    "--mapper",
    type=click.Choice([name.replace("_", "-") for name in MAPPERS]),
    default="cca",
    show_default=True,
    help="The map between the two encoders.",
)
@click.option(
    "--text-encoder",
    default="all-MiniLM-L6-v2",
    show_default=True,
    help="Packaged name, local folder or hub id of the text encoder.",
)
@click.option(
    "--image-encoder",
    default="efficientnet-lite0",
    show_default=True,
    help="Packaged name, local folder or hub id of the picture encoder.",
)
@data_options
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
@common_options
def fit(
    pictures: Path,
    output: Path,
    mapper: str,
    text_encoder: str,
    image_encoder: str,
    split: tuple[str, ...],
    image_folder: Path | None,
    skip_missing: bool,
    skip_unreadable: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Fit a search model on the captioned PICTURES and save it.

    PICTURES is one of

    \b
      a folder with a captions.csv     image,caption: one row a caption
      a folder of pictures             "a dog on a beach.jpg": names are captions
      Flickr8k.token.txt               picture.jpg#0<tab>caption
      dataset_flickr8k.json            Karpathy's splits
      captions_val2017.json            COCO

    The vectors of texts and pictures are cached: another fit of the same
    pictures takes seconds. The model is a folder with a JSON manifest and
    safetensors, and can be searched where it is.

    \b
    Examples:
      skxmodal fit photos -o model
      skxmodal fit photos -o model --mapper procrustes --overwrite
      skxmodal fit dataset_flickr8k.json -o model --split train
    """
    from skxmodal.persistence._model_folder import check_destination

    progress = Progress(quiet=quiet)
    output = output.expanduser()
    if (output / "manifest.json").exists() and not overwrite:
        raise Stopped(f"{output} holds a model already; replace it with --overwrite.")
    # Encoding takes minutes, and a place that takes no model is known before.
    check_destination(output)
    start = time.perf_counter()
    with plain_warnings(progress):
        pairs = load_pairs(pictures, image_folder, split, skip_missing=skip_missing)
        model, _ = use_readable(
            lambda kept: fit_model(
                kept.captions,
                kept.images,
                mapper,
                text_encoder,
                image_encoder,
                progress,
            ),
            pairs,
            progress,
            skip=skip_unreadable,
        )
    with progress.busy("Saving"):
        model.save(output)
    if quiet:
        return
    console = results()
    console.print(
        f"Fitted {mapper} on {len(model.captions)} captions of {len(model.pictures)} "
        f"pictures in {time.perf_counter() - start:.0f} s. Model:",
        link(output),
    )
    console.print(f'Now try: skxmodal search {output} "what you are looking for"')
    console.print(f"Or, on a page in the browser: skxmodal serve {output}")


def fit_model(
    captions: list[str],
    images: list[Path],
    mapper: str,
    text_encoder: str,
    image_encoder: str,
    progress: Progress,
) -> SearchModel:
    """Fit a retriever, and note which pictures it finds."""
    import numpy as np

    from skxmodal.cli._model import SearchModel, make_retriever

    # The model is searched from other folders than the one it was fitted in.
    images = [path.absolute() for path in images]
    retriever = make_retriever(
        MAPPERS[mapper.replace("-", "_")](), text_encoder, image_encoder, progress
    )
    progress.say(f"Encoding {len(captions)} captions and {len(set(images))} pictures")
    retriever.fit(captions, images)
    first_rows, item_of_row = retriever.gallery_items(images)
    return SearchModel(
        retriever,
        [images[row] for row in first_rows],
        list(captions),
        np.asarray(item_of_row, dtype=np.int64),
    )
