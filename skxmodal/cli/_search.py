"""``skxmodal search``: words in, pictures out."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skxmodal._pictures import PictureError
from skxmodal.cli._console import (
    Progress,
    Stopped,
    captions_option,
    common_options,
    link,
    plain_warnings,
    results,
)
from skxmodal.cli._data import find_unreadable, said_of

if TYPE_CHECKING:
    from skxmodal.cli._model import SearchModel

_DEFAULT_HITS = 5
# So many queries are answered before a bar would tell anything.
_FEW_QUERIES = 32


@click.command(short_help="Search a model's pictures by words.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("queries", nargs=-1, metavar="QUERY...")
@click.option(
    "-k",
    "n_hits",
    type=click.IntRange(min=1),
    help=f"How many hits a query. [default: {_DEFAULT_HITS}]",
)
@click.option(
    "--picture",
    "by_picture",
    is_flag=True,
    help="The queries are picture files: find captions for them.",
)
@captions_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a PNG of the hits as well. One query only.",
)
@click.option(
    "--thumbnails/--no-thumbnails",
    default=None,
    help="Draw the hits in the table. [default: where the terminal can]",
)
@common_options
def search(
    model: Path,
    queries: tuple[str, ...],
    n_hits: int | None,
    by_picture: bool,
    captions: Path | None,
    as_json: bool,
    output: Path | None,
    thumbnails: bool | None,
    quiet: bool,
) -> None:
    """Find the pictures of MODEL that fit each QUERY best.

    MODEL is a folder that 'skxmodal fit' made, or one that a retriever was
    saved to in Python: give its captioned pictures as --captions to see their
    captions, or to search with --picture. The score is the cosine
    between query and picture in the space they share: it ranks the pictures
    of one query, and says little across queries.

    \b
    Examples:
      skxmodal search model "a dog on a beach"
      skxmodal search model "a dog" "two cats" -k 10
      skxmodal search model "a dog on a beach" -o hits.png
      skxmodal search model "a dog" --json | jq -r '.[0].hits[0].picture'
      skxmodal search model --picture new.jpg
      skxmodal search saved-in-python "a dog" --captions photos

    In a terminal a click on a path opens the picture, where it knows links.
    """
    from skxmodal.cli._model import SearchModel, set_encoders

    if not queries:
        raise Stopped('Nothing to search for. Say it in quotes: "a dog on a beach".')
    blank = [query for query in queries if not query.strip()]
    if blank:
        raise Stopped(f"The query {blank[0]!r} is blank.")
    if output is not None:
        if len(queries) > 1 or by_picture:
            raise Stopped("-o writes the hits of one query of words.")
        _check_sheet(output)
    progress = Progress(quiet=quiet, as_json=as_json)
    loaded = SearchModel.load(model, progress, captions)
    loaded.require_pictures(model)
    if by_picture:
        loaded.require_captions(model)
    there = len(loaded.captions if by_picture else loaded.pictures)
    if n_hits is not None and n_hits > there:
        what = "captions" if by_picture else "pictures"
        raise Stopped(f"-k {n_hits}: the model has {there} {what}.")
    quick = len(queries) <= _FEW_QUERIES and captions is None
    if quick:
        set_encoders(loaded.retriever, show_progress=False)
    waiting = progress.busy("Searching") if quick else nullcontext()
    with plain_warnings(progress), waiting:
        find = _captions if by_picture else _pictures
        found = find(loaded, list(queries), n_hits or min(_DEFAULT_HITS, there))
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for answer in found:
        _print_answer(answer, thumbnails)
    if output is not None:
        from skxmodal.cli._sheet import draw_hits

        hits = found[0]["hits"]
        undrawn = draw_hits(
            found[0]["query"],
            [Path(hit["picture"]) for hit in hits],
            [_caption(hit) for hit in hits],
            output,
        )
        if undrawn:
            progress.note(
                f"No font found here has {undrawn!r}: boxes stand for them in "
                f"{output}. Install one of that script."
            )
        progress.say(f"Wrote {output}")


def _check_sheet(output: Path) -> None:
    """Stop before the search where its hits can't be written."""
    if output.suffix.lower() != ".png":
        raise Stopped(f"-o {output}: the hits are a PNG. Give a name that ends so.")
    folder = output.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise Stopped(f"-o {output}: {folder} is no folder that can be written to.")


def _pictures(
    model: SearchModel, queries: list[str], n_hits: int
) -> list[dict[str, Any]]:
    distances, rows = model.retriever.kneighbors(queries, n_neighbors=n_hits)
    return [
        {
            "query": query,
            "hits": [
                {
                    "rank": rank,
                    "score": round(1 - float(distance), 6),
                    "picture": str(model.pictures[row]),
                    "captions": model.captions_of(row),
                }
                for rank, (distance, row) in enumerate(zip(d, r, strict=True), start=1)
            ],
        }
        for query, d, r in zip(queries, distances, rows, strict=True)
    ]


def _captions(
    model: SearchModel, queries: list[str], n_hits: int
) -> list[dict[str, Any]]:
    paths = [Path(query).expanduser() for query in queries]
    try:
        scores, rows = model.captions_near(paths, n_hits)
    except PictureError:
        problems = find_unreadable(paths, Progress(quiet=True))
        raise Stopped(said_of(problems, len(set(paths)))) from None
    return [
        {
            "query": str(path),
            "hits": [
                {
                    "rank": rank,
                    "score": round(float(score), 6),
                    "picture": str(model.pictures[model.item_of_caption[row]]),
                    "captions": [model.captions[row]],
                }
                for rank, (score, row) in enumerate(zip(s, r, strict=True), start=1)
            ],
        }
        for path, s, r in zip(paths, scores, rows, strict=True)
    ]


def _caption(hit: dict[str, Any]) -> str:
    captions: list[str] = hit["captions"]
    return captions[0] if captions else ""


def _print_answer(answer: dict[str, Any], thumbnails: bool | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from skxmodal.cli import _thumbnail

    console = results()
    draw = None if thumbnails is False else _thumbnail.artist(console)
    if thumbnails and draw is None:
        raise Stopped("--thumbnails needs a terminal with 256 colours and UTF-8.")
    captioned = any(hit["captions"] for hit in answer["hits"])
    table = Table(title=Text(answer["query"], style="bold"), title_justify="left")
    if draw is not None:
        # Pictures one below the other would run into each other.
        table.show_lines = True
        table.add_column("", no_wrap=True)
    table.add_column("", justify="right", style="dim")
    table.add_column("score", justify="right")
    if captioned:
        table.add_column("caption", overflow="fold", max_width=60)
    table.add_column("picture", overflow="fold")
    for hit in answer["hits"]:
        path = Path(hit["picture"])
        shown = link(path)
        if not path.exists():
            shown.append(" (not there any more)", style="red")
        table.add_row(
            *([] if draw is None else [draw(path)]),
            str(hit["rank"]),
            f"{hit['score']:.3f}",
            *([Text(_caption(hit))] if captioned else []),
            shown,
        )
    console.print(table)
