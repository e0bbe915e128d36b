"""``skxmodal serve``: a page in the browser to search a model on."""

from __future__ import annotations

import socket
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skxmodal._optional import import_optional
from skxmodal.cli._console import (
    Progress,
    Stopped,
    captions_option,
    common_options,
    plain_warnings,
    results,
)

if TYPE_CHECKING:
    from skxmodal.cli._model import SearchModel

_MIB = 2**20
# Beyond this many requests at once the next are told to come back.
_MOST_REQUESTS = 128


@click.command(short_help="Search a model on a page in the browser.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. The default answers this machine alone.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 takes one that is free.",
)
@click.option(
    "--allow-host",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="Another name that the page is reached by. Repeatable.",
)
@click.option(
    "--max-upload",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="MIB",
    help="Largest picture that may be dropped, in MiB.",
)
@captions_option
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
@common_options
def serve(
    model: Path,
    host: str,
    port: int,
    allowed: tuple[str, ...],
    max_upload: int,
    captions: Path | None,
    open_page: bool,
    quiet: bool,
) -> None:
    """Serve a page to search the pictures of MODEL on, until Ctrl+C.

    MODEL is a folder that 'skxmodal fit' made, or one that a retriever was
    saved to in Python, with its captioned pictures as --captions. Type words
    and get pictures; drop a picture and get words; see both on a map of the
    space they share.

    The page answers this machine alone unless you give another --host. It
    shows the pictures that the model was fitted to and no other file, keeps
    nothing that is asked or dropped, and loads nothing from elsewhere. It
    has no passwords: whoever reaches the address can search.

    \b
    Examples:
      skxmodal serve model
      skxmodal serve model --open --port 9000
      skxmodal serve saved-in-python --captions photos
      skxmodal serve model --host 0.0.0.0 --allow-host search.example.org
    """
    purpose = "Serving the search page"
    uvicorn = import_optional("uvicorn", extra="serve", purpose=purpose)
    import_optional("fastapi", extra="serve", purpose=purpose)
    from skxmodal.cli._model import SearchModel
    from skxmodal.page._app import make_app
    from skxmodal.page._guard import LOOPBACK_NAMES

    progress = Progress(quiet=quiet)
    loaded = SearchModel.load(model, progress, captions)
    loaded.require_captions(model)
    with _listen(host, port) as listening:
        address = listening.getsockname()[0]
        local = address in LOOPBACK_NAMES or address.startswith("127.")
        with plain_warnings(progress):
            searches = _searches(loaded)
            with progress.busy("Loading the encoders"):
                searches.submit(searches.warm_up).result()
        app = make_app(
            searches,
            hosts={*LOOPBACK_NAMES, address, host, *allowed},
            any_address=not local,
            max_upload=max_upload * _MIB,
        )
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                limit_concurrency=_MOST_REQUESTS,
                timeout_graceful_shutdown=3,
            )
        )
        url = _url(host, listening)
        results().print(f"Searching {searches.n_pictures} pictures at {url}")
        progress.say("Ctrl+C stops it.")
        if not local:
            progress.say(
                f"Note: other machines can reach {address}: whoever does can search "
                "and see the pictures, without a password."
            )
        if open_page:
            webbrowser.open(url)
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            progress.say("Stopped.")


def _searches(model: SearchModel) -> Any:
    from skxmodal.cli._model import set_encoders
    from skxmodal.page._searches import Searches

    caption_gallery = model.caption_gallery()
    # Visitors' words and pictures are not kept, and bars are for terminals.
    set_encoders(model.retriever, cache=False, show_progress=False)
    return Searches(*model, caption_gallery)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Stopped(f"--host {host}: {error.strerror or error}.") from None
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        # Listening from here on: who asks before the encoders are loaded waits.
        listening.listen()
    except OSError as error:
        listening.close()
        raise Stopped(
            f"Can't listen on port {port} of {host} ({error.strerror}). Choose "
            "another with --port, or any free one with --port 0."
        ) from None
    return listening


def _url(host: str, listening: socket.socket) -> str:
    # A browser can't ask for "all addresses of this machine".
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{listening.getsockname()[1]}/"
