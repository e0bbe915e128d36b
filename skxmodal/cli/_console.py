"""What all commands share: consoles, options and words for the user."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

# Into a file or a pipe nothing is folded: paths stay in one piece.
_WIDTH_OF_PIPES = 1000


class Stopped(Exception):
    """A mistake of the user, in one sentence."""


def results() -> Console:
    """Console for what a command was asked for, on standard output."""
    width = None if sys.stdout.isatty() else _WIDTH_OF_PIPES
    return Console(width=width, highlight=False)


class Progress:
    """What is being done, on standard error.

    Parameters
    ----------
    quiet : bool
        Whether to say nothing.
    as_json : bool, default=False
        Whether a program reads the results: then only notes are said, unless a
        person sees them in a terminal.
    """

    def __init__(self, *, quiet: bool, as_json: bool = False) -> None:
        self.bars = not quiet and sys.stderr.isatty()
        self._steps = self.bars or not as_json
        self._console = Console(stderr=True, highlight=False, quiet=quiet)

    def say(self, message: str) -> None:
        """Say what is being done."""
        if self._steps:
            self._print(message)

    def note(self, message: str) -> None:
        """Say what the reader of the results should know."""
        self._print(f"Note: {' '.join(message.split())}")

    def _print(self, line: str) -> None:
        self._console.print(line, style="dim", markup=False, soft_wrap=True)

    @contextmanager
    def busy(self, message: str) -> Iterator[None]:
        """Say what is being done while it is being done."""
        if self.bars:
            with self._console.status(message):
                yield
        else:
            self.say(f"{message} ...")
            yield


def say_error(message: str) -> None:
    """Say what went wrong, in one line on standard error."""
    line = " ".join(message.split())
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        Text.assemble(("skxmodal: ", "bold red"), line)
    )


@contextmanager
def plain_warnings(progress: Progress) -> Iterator[None]:
    """Show warnings as lines for a reader, without the place in the code."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        progress.note(str(message))

    with warnings.catch_warnings():
        # What numerical code warns of is a RuntimeWarning: a rank, an overflow.
        for category in (UserWarning, RuntimeWarning):
            warnings.simplefilter("default", category)
        warnings.showwarning = show
        yield


def common_options(function: FunctionT) -> FunctionT:
    """Options that every command takes."""
    quiet = click.option(
        "-q", "--quiet", is_flag=True, help="Print results and errors alone."
    )
    traceback = click.option(
        "--traceback",
        is_flag=True,
        expose_value=False,
        help="Show where in the code an error came from.",
    )
    return quiet(traceback(function))


captions_option = click.option(
    "--captions",
    type=click.Path(path_type=Path),
    help="Captioned pictures of a model that was saved in Python.",
)


def link(path: Path) -> Text:
    """A path that terminals open on a click."""
    text = Text(str(path), overflow="fold")
    text.stylize(f"link {path.absolute().as_uri()}")
    return text


def silence_libraries() -> None:
    """Keep the loggers and bars of libraries from between our own lines."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    if "transformers" in sys.modules:
        sys.modules["transformers"].utils.logging.disable_progress_bar()
