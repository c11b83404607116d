"""Who may talk to the studio."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "keras-cmm-studio"
HEADER = "x-keras-cmm-studio"
"""The header that a program sends with each change, since it has no page to come from."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """An ASGI app that only the studio's own page reaches, and the user's own programs.

    - The `Host` header must be a name of the server: a site whose name leads here by DNS rebinding
      is refused.
    - `Origin` and `Sec-Fetch-Site`, which browsers send, must be the page's own, but for links to
      the page itself.
    - A change needs `Origin`, or the header of a program, which no form of another site can send.
    - With a token, it must be in the cookie, in the address of the page or in `Authorization`.

    Args:
        app: The app.
        allowed_hosts: Names that the `Host` header may have, or `None` for all.
        token: The token, or `None` if none is asked for.
    """

    def __init__(
        self, app: ASGIApp, allowed_hosts: tuple[str, ...] | None, token: str | None
    ) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app on one request, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> Response | None:
        """Returns the answer to a request that is refused, or `None`."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if self._allowed_hosts is not None and _name(host) not in self._allowed_hosts:
            return _error(421, "the Host header names another server; use the address that the "
                          "studio printed.")  # fmt: skip
        changes = scope["method"] not in ("GET", "HEAD")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return _error(403, "the request comes from another site.")
        is_page = scope["path"] == "/" and not changes
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not is_page:
            return _error(403, "the request comes from another site.")
        if changes and origin is None and HEADER not in headers:
            return _error(403, f"a change needs the header {HEADER}: 1, or an Origin.")
        return self._token_refusal(scope, headers, is_page)

    def _token_refusal(self, scope: Scope, headers: Headers, is_page: bool) -> Response | None:
        if self._token is None:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if is_page and given is not None and self._is_token(given):
            # The token leaves the address, so that it stays in no history or screenshot.
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            answer = RedirectResponse(f"/?{rest}" if rest else "/", 303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return answer
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if self._is_token(_cookie(headers)) or (
            scheme.lower() == "bearer" and self._is_token(bearer.strip())
        ):
            return None
        message = "open the whole address that the studio printed; it holds a token."
        return PlainTextResponse(message, 403) if is_page else _error(403, message)

    def _is_token(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode(), self._token.encode())


def _cookie(headers: Headers) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _name(host: str) -> str:
    """Returns the name in a `Host` header, without its port."""
    name, _, port = host.rpartition(":")
    if not port.isdecimal():  # no port, or the end of an IPv6 address
        return f"{name}:{port}" if name else port
    return name


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)
