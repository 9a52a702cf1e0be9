"""A remote behind a web server, for reading."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from edgepipe.remote.cloud import Cloud, status_reason
from edgepipe.remote.transport import RejectedError, Sink, UnavailableError, Upload

_ABSENT = {404, 410}


class Website(Cloud):
    """Files by GET below a URL."""

    _proxy: str | None = None

    async def _open(self) -> Any:
        import aiohttp
        from fsspec.asyn import get_loop
        from fsspec.implementations.http import HTTPFileSystem

        settings = self.settings
        # A body that inflates is none of ours.
        headers = {"Accept-Encoding": "identity"}
        logs_in = bool(settings.user or settings.password)
        if logs_in:
            # Else aiohttp looks into ~/.netrc, and for proxies.
            self._proxy = _proxy_of(settings.base)
            login = f"{settings.user}:{settings.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        fs = HTTPFileSystem(
            loop=get_loop(),
            skip_instance_cache=True,
            client_kwargs={
                "trust_env": not logs_in,
                "headers": headers,
                "auto_decompress": False,
                "timeout": aiohttp.ClientTimeout(total=None, sock_connect=self.timeout),
            },
        )
        await fs.set_session()
        return fs

    def _url(self, name: str) -> Any:
        query = f"?{self.settings.query}" if self.settings.query else ""
        return self._fs.encode_url(f"{self.settings.base}/{name}{query}")

    def get(self, name: str, sink: Sink, limit: int, *, small: bool = False) -> bool:
        async def work() -> bool:
            session = await self._fs.set_session()
            async with session.get(self._url(name), proxy=self._proxy) as response:
                if response.status in _ABSENT:
                    return False
                if response.status != 200:
                    raise status_reason(response.status)
                if (response.content_length or 0) > limit:
                    raise RejectedError(f"it has more than {limit} bytes")
                await self._pass_on(response.content.read, sink, limit)
                return True

        return self._do(work(), small=small)

    def size(self, name: str) -> int | None:
        raise UnavailableError("it can only be read")

    def put(self, name: str, upload: Upload, *, replace: bool) -> bool:
        raise UnavailableError("it can only be read")

    def names(self, table: str) -> Iterator[str]:
        raise UnavailableError("a web server does not list what it has")

    async def _shut(self, fs: Any) -> None:
        await fs._session.close()


def _proxy_of(url: str) -> str | None:
    """What the environment says of proxies, as other tools read it."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
