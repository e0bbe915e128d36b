"""Captioned pictures as the commands read them, and what is left out of them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from skxmodal._pictures import PictureError, open_picture
from skxmodal._progress import progress as counted
from skxmodal.cli._console import FunctionT, Progress, Stopped

ResultT = TypeVar("ResultT")

_SHOWN = 5
# What the loader calls its parameters, unless it is part of a path.
_OPTIONS = {
    r"^split=": "--split ",
    r"(?<![\w/\\.-])image_folder(?![\w/\\.-]*[\w/\\-])": "--image-folder",
    r"\bon_missing='warn'": "--skip-missing",
}


class Pairs(NamedTuple):
    """Captions and pictures, row by row.

    Attributes
    ----------
    captions : list of str
        One for each row.
    images : list of pathlib.Path
        Picture of each caption.
    n_missing : int
        How many pictures were not there.
    n_unreadable : int
        How many were there and could not be read.
    """

    captions: list[str]
    images: list[Path]
    n_missing: int = 0
    n_unreadable: int = 0


def data_options(function: FunctionT) -> FunctionT:
    """Options of the commands that read captioned pictures."""
    for option in (
        click.option(
            "--skip-unreadable",
            is_flag=True,
            help="Go without damaged pictures, instead of stopping.",
        ),
        click.option(
            "--skip-missing",
            is_flag=True,
            help="Go without pictures that are not there, instead of stopping.",
        ),
        click.option(
            "--image-folder",
            type=click.Path(path_type=Path),
            help="Folder that the names in a captions file start from.",
        ),
        click.option(
            "--split", multiple=True, help="Use this split alone. Repeatable."
        ),
    ):
        function = option(function)
    return function


def load_pairs(
    source: Path,
    image_folder: Path | None = None,
    split: tuple[str, ...] = (),
    *,
    skip_missing: bool = False,
) -> Pairs:
    """Read captioned pictures in any layout, with errors in the command's words."""
    from skxmodal.datasets import load_captioned_images

    try:
        data = load_captioned_images(
            source,
            image_folder=image_folder,
            split=split or None,
            on_missing="warn" if skip_missing else "raise",
        )
    except (FileNotFoundError, ValueError) as error:
        message = str(error)
        for name, option in _OPTIONS.items():
            message = re.sub(name, option, message)
        if message == str(error):
            raise
        raise Stopped(message) from error
    return Pairs(data.captions, data.images, len(data.missing))


def use_readable(
    use: Callable[[Pairs], ResultT], pairs: Pairs, progress: Progress, *, skip: bool
) -> tuple[ResultT, Pairs]:
    """Use pairs; where pictures can't be read, name all of them or go without.

    Parameters
    ----------
    use : callable
        From pairs to a result.
    pairs : Pairs
        The pairs.
    progress : Progress
        What is told of the pictures left out.
    skip : bool
        Whether to go without those pictures.

    Returns
    -------
    result : object
        What `use` gave.
    pairs : Pairs
        The pairs that it was given.

    Raises
    ------
    Stopped
        If pictures can't be read, and `skip` is false or they are all there is.
    """
    try:
        return use(pairs), pairs
    except PictureError:
        problems = find_unreadable(pairs.images, progress)
        if not problems:
            raise
    n_pictures = len(set(pairs.images))
    message = said_of(problems, n_pictures)
    if len(problems) == n_pictures:
        raise Stopped(message)
    if not skip:
        raise Stopped(f"{message} Mend them, or go without them: --skip-unreadable.")
    rows = [row for row, path in enumerate(pairs.images) if path not in problems]
    progress.note(f"{message} They were left out.")
    kept = Pairs(
        [pairs.captions[row] for row in rows],
        [pairs.images[row] for row in rows],
        pairs.n_missing,
        len(problems),
    )
    return use(kept), kept


def find_unreadable(paths: Iterable[Path], progress: Progress) -> dict[Path, str]:
    """What is wrong with each picture that can't be read."""
    from skxmodal.encoders._threads import in_threads

    distinct = list(dict.fromkeys(paths))
    found = zip(distinct, in_threads(_problem, distinct), strict=True)
    bar: Any = counted(found, len(distinct), "checking pictures", progress.bars)
    with warnings.catch_warnings():
        # The encoder has said what Pillow thinks of a picture.
        warnings.simplefilter("ignore")
        return {path: problem for path, problem in bar if problem is not None}


def said_of(problems: dict[Path, str], n_pictures: int) -> str:
    """Name pictures that can't be read, the first of them with the reason."""
    shown = "; ".join(f"{path}: {why}" for path, why in list(problems.items())[:_SHOWN])
    more = len(problems) - _SHOWN
    return (
        f"{len(problems)} of {n_pictures} pictures can't be read: {shown}"
        f"{f'; and {more} more' if more > 0 else ''}."
    )


def _problem(path: Path) -> str | None:
    try:
        open_picture(path)
    except PictureError as error:
        return str(error.__cause__ or error).rstrip(".")
    return None
