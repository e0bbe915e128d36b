"""``skxmodal demo``: the whole of it, on emoji."""

from __future__ import annotations

import re
import time
import warnings
from pathlib import Path
from typing import Any

import click

from skxmodal._progress import progress as counted
from skxmodal.cli._console import (
    Progress,
    common_options,
    link,
    plain_warnings,
    results,
)

QUERIES = (
    "something to keep the rain off",
    "it tells you the time",
    "a vehicle for putting out fires",
    "the banner of a country in Africa",
    "an animal with a long neck",
)
_MAPS = {"least squares": "least_squares", "Procrustes": "procrustes", "CCA": "cca"}
_SPLITS = 5
_TEST_SHARE = 0.25
_SHOWN_SPLIT = 1
_HITS = 5
_OVERVIEW = 3


@click.command(short_help="See it work, on 1,923 emoji.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Folder for the pictures of the hits and the model.",
)
@common_options
def demo(output: Path, quiet: bool) -> None:
    """Fit maps on emoji and their names, and search them by other words.

    Draws the OpenMoji pictures, encodes them with EfficientNet-Lite0 and
    their English names with MiniLM, two networks that never met. A quarter
    of the pictures is held out, five times anew; least squares, Procrustes and
    CCA are fitted to the others, and the table says how often the held-out
    names and pictures find each other. Then a few queries that are no emoji's
    name search held-out pictures by Procrustes; OUTPUT has a PNG of each
    answer, one of the first three (demo.png), and the model.

    Needs no network. Under five minutes on two cores the first time, and
    seconds from then on: the vectors are cached.

    \b
    Examples:
      skxmodal demo
      skxmodal demo -o somewhere
      skxmodal search demo/model "a pet" "something to wear on the feet"
    """
    from skxmodal.datasets import load_openmoji

    progress = Progress(quiet=quiet)
    start = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    if not progress.bars:
        progress.say("Drawing the emoji, the first time only ...")
    data = load_openmoji(show_progress=progress.bars)
    with plain_warnings(progress), warnings.catch_warnings():
        # Names as short as these leave a few dimensions of MiniLM without variance.
        warnings.filterwarnings("ignore", message="X has rank")
        X, y = _encode(data, progress)
        rows, sizes = _recall(X, y, data.groups, progress)
        answers = _answer(data, output, progress)
    if quiet:
        return
    from skxmodal.cli._scores import recall_table

    console = results()
    console.print()
    console.print(recall_table("Recall, in per cent of the queries", rows))
    console.print(
        f"Mean over {_SPLITS} splits; {sizes}.\n"
        "R@K: a right answer is among the first K.",
        style="dim",
    )
    console.print()
    for query, names, path in answers:
        console.print(f"[bold]{query}[/bold]")
        console.print(f"  {', '.join(names)}")
        console.print("  ", link(path), sep="")
    console.print()
    console.print(
        f"Done in {time.perf_counter() - start:.0f} s. Ask something yourself: "
        f'skxmodal search {output / "model"} "a pet"'
    )


def _encode(data: Any, progress: Progress) -> tuple[Any, Any]:
    from skxmodal.cli._model import make_retriever

    encoders = make_retriever(
        None, "all-MiniLM-L6-v2", "efficientnet-lite0", progress
    ).get_params(deep=False)
    progress.say(f"Encoding {len(data.names)} names with all-MiniLM-L6-v2")
    X = encoders["query_encoder"].transform(data.names)
    progress.say(f"Encoding {len(data.pictures)} pictures with EfficientNet-Lite0")
    return X, encoders["target_encoder"].transform(data.pictures)


def _split(groups: Any, seed: int) -> tuple[Any, Any]:
    """Rows to fit and rows held out; emoji that look the same stay together."""
    from sklearn.model_selection import GroupShuffleSplit

    splitter = GroupShuffleSplit(1, test_size=_TEST_SHARE, random_state=seed)
    return next(splitter.split(groups, groups=groups))


def _recall(
    X: Any, y: Any, groups: Any, progress: Progress
) -> tuple[dict[str, dict[str, Any]], str]:
    """Mean scores of each map and of chance, and the sizes of the splits in words."""
    from skxmodal.cli._scores import chance_of, mean_scores, scores_of
    from skxmodal.mappers import MAPPERS
    from skxmodal.metrics import retrieval_ranks

    collected: dict[str, list[dict[str, Any]]] = {name: [] for name in _MAPS}
    collected["chance"] = []
    fitted: list[int] = []
    galleries: list[int] = []
    for seed in counted(range(_SPLITS), _SPLITS, "splits", progress.bars):
        train, test = _split(groups, seed)
        for name, mapper in _MAPS.items():
            fit = MAPPERS[mapper]().fit(X[train], y[train])
            ranks = retrieval_ranks(fit, X[test], y[test], groups=groups[test])
            collected[name].append(scores_of(ranks))
        collected["chance"].append(chance_of(ranks))
        fitted.append(len(train))
        galleries.append(collected["chance"][-1]["text to image"]["gallery"])
    sizes = f"{_span(fitted)} pairs to fit, galleries of {_span(galleries)} pictures"
    return {name: mean_scores(scores) for name, scores in collected.items()}, sizes


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _answer(
    data: Any, output: Path, progress: Progress
) -> list[tuple[str, list[str], Path]]:
    """Search held-out pictures; draw the hits and save the model."""
    import numpy as np

    from skxmodal.cli._model import SearchModel, make_retriever
    from skxmodal.cli._sheet import draw_hits, stack
    from skxmodal.mappers import MAPPERS

    names = {name.casefold() for name in data.names}
    assert not names.intersection(query.casefold() for query in QUERIES)
    train, test = _split(data.groups, _SHOWN_SPLIT)
    retriever = make_retriever(
        MAPPERS["procrustes"](), "all-MiniLM-L6-v2", "efficientnet-lite0", progress
    )
    captions = [data.names[row] for row in train]
    retriever.fit(captions, [data.pictures[row] for row in train])
    held_out = [data.pictures[row] for row in test]
    retriever.index(held_out)
    first_rows, item_of_row = retriever.gallery_items(held_out)
    model = SearchModel(
        retriever,
        [held_out[row] for row in first_rows],
        [data.names[row] for row in test],
        np.asarray(item_of_row, dtype=np.int64),
    )
    model.save(output / "model")
    answers = []
    for query in QUERIES:
        hits = retriever.kneighbors([query], n_neighbors=_HITS, return_distance=False)
        found = [model.captions_of(item)[0] for item in hits[0]]
        path = output / f"{re.sub('[^a-z]+', '-', query.lower()).strip('-')}.png"
        draw_hits(query, [model.pictures[item] for item in hits[0]], found, path)
        answers.append((query, found, path))
    stack([path for _, _, path in answers[:_OVERVIEW]], output / "demo.png")
    return answers
