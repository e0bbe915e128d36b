"""The web application: a page, and the few addresses it asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from skxmodal._pictures import PictureError
from skxmodal.page._guard import Guard
from skxmodal.page._pictures import LARGE, SMALL, NotServed
from skxmodal.page._searches import Searches
from skxmodal.page._uploads import Uploads

MAX_UPLOAD = 20 * 2**20
# A picture of a telephone with 48 million pixels is accepted.
MAX_PIXELS = 50_000_000
_MAX_WORDS = 1000
_MAX_HITS = 200
_FILES = {
    "": ("index.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_FOR_A_DAY = {"cache-control": "private, max-age=86400, immutable"}

Hits = Annotated[int, Query(ge=1, le=_MAX_HITS)]
Words = Annotated[str, Query(min_length=1, max_length=_MAX_WORDS)]
Item = Annotated[int, Path(ge=0)]


def make_app(
    searches: Searches,
    *,
    hosts: frozenset[str] | set[str],
    any_address: bool = False,
    max_upload: int = MAX_UPLOAD,
    max_pixels: int = MAX_PIXELS,
) -> Guard:
    """Make the web application of a model.

    Parameters
    ----------
    searches : Searches
        What answers.
    hosts : set of str
        Names under which it is served; requests for others are refused.
    any_address : bool, default=False
        Whether addresses of numbers pass as well.
    max_upload : int, default=20 MiB
        Largest upload, in bytes.
    max_pixels : int, default=50 million
        Most pixels of an uploaded picture.

    Returns
    -------
    app : ASGI application
        What a server runs.
    """

    uploads = Uploads(max_pixels=max_pixels)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        uploads.warm_up()
        yield
        uploads.close()
        searches.close()

    # FastAPI's own pages of documentation load scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    _answer_errors(app)

    async def search(function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.wrap_future(searches.submit(function, *arguments))

    def known(item: int) -> int:
        if item >= searches.n_pictures:
            raise HTTPException(404, "There is no such picture.")
        return item

    for address, (name, media_type) in _FILES.items():
        app.add_api_route(f"/{address}", _own_file(name, media_type), methods=["GET"])

    @app.get("/api/about")
    def about() -> dict[str, Any]:
        return {**searches.about(), "max_upload": max_upload}

    @app.get("/api/search")
    async def find_pictures(q: Words, k: Hits = 12) -> Any:
        if not q.strip():
            raise HTTPException(422, "Say what the picture should show.")
        return await search(searches.find_pictures, q, k)

    @app.get("/api/captions/{item}")
    def captions_of_item(item: Item, k: Hits = 12) -> Any:
        return searches.captions_of_item(known(item), k)

    @app.post("/api/captions")
    async def find_captions(request: Request, k: Hits = 12) -> Any:
        data = await _read_upload(request, max_upload)
        pixels = await asyncio.wrap_future(uploads.decode(data))
        return await search(searches.find_captions, pixels, k)

    @app.get("/api/map")
    def draw_map() -> Any:
        return searches.draw_map()

    @app.get("/pictures/{item}")
    async def picture(item: Item, large: bool = False) -> Response:
        drawing = searches.thumbnails.submit(known(item), LARGE if large else SMALL)
        try:
            drawn = await asyncio.wrap_future(drawing)
        except NotServed as error:
            raise HTTPException(410, str(error)) from None
        return Response(drawn, media_type="image/webp", headers=_FOR_A_DAY)

    # Outermost, so that answers to errors of the code have its headers too.
    return Guard(app, hosts=hosts, any_address=any_address)


def _own_file(name: str, media_type: str) -> Callable[[], Response]:
    content = (files("skxmodal.page") / "static" / name).read_bytes()

    def own_file() -> Response:
        return Response(content, media_type=media_type)

    return own_file


async def _read_upload(request: Request, max_upload: int) -> bytes:
    too_large = HTTPException(
        413, f"That file is larger than {max_upload / 2**20:g} MiB."
    )
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > max_upload:
        raise too_large
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > max_upload:
            raise too_large
    return bytes(data)


def _answer_errors(app: FastAPI) -> None:
    """Every error is JSON with one sentence for the page to show."""

    def say(status: int, message: str) -> JSONResponse:
        return JSONResponse({"error": message}, status_code=status)

    @app.exception_handler(HTTPException)
    def of_http(_: Request, error: HTTPException) -> JSONResponse:
        return say(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def of_parameters(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return say(422, f"{first['loc'][-1]}: {first['msg']}.")

    @app.exception_handler(PictureError)
    def of_pictures(_: Request, error: PictureError) -> JSONResponse:
        return say(422, str(error))

    @app.exception_handler(Exception)
    def of_the_code(_: Request, __: Exception) -> JSONResponse:
        return say(500, "The server failed to answer; its terminal says why.")
