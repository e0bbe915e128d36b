"""What stands before every request: whose page asks, and what browsers may do."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# The page is three files of its own; nothing else is loaded, framed or sent to.
_SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Refuse requests that name another host, or that another page sends.

    A page elsewhere can point a name of its own at this machine (DNS rebinding) and
    would then be of one origin with this one; its requests still name its own host.
    Addresses of numbers can't be rebound, so they pass where other machines may ask.

    Parameters
    ----------
    app : ASGI application
        What answers the requests that pass.
    hosts : iterable of str
        Names that this page is reached by; a port beside one is not looked at.
    any_address : bool, default=False
        Whether addresses of numbers pass too.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Iterable[str], any_address: bool = False
    ) -> None:
        self.app = app
        self.hosts = frozenset(filter(None, map(_host_name, hosts)))
        self.any_address = any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        answer: Any = self.app
        if refusal is not None:
            answer = JSONResponse({"error": refusal}, status_code=403)
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        given = headers.getlist("host")
        if len(given) != 1 or not self._is_known(_host_name(given[0])):
            return (
                "This page is not served under that name. Ask for it by the address "
                "that 'skxmodal serve' printed, or allow the name with --allow-host."
            )
        origin = headers.get("origin")
        other = origin is not None and _netloc(origin) != given[0].lower()
        # A link elsewhere may lead to the page; nothing else may ask.
        site = headers.get("sec-fetch-site", "none").lower()
        if site not in ("none", "same-origin"):
            other = other or scope["path"].startswith(("/api/", "/pictures/"))
        return "Another page's requests are not answered." if other else None

    def _is_known(self, name: str | None) -> bool:
        if name is None:
            return False
        return name in self.hosts or (self.any_address and _is_address(name))


def _host_name(host: str) -> str | None:
    # An address of IPv6 may stand without its brackets where no port follows.
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
