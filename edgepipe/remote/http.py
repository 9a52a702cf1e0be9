"""A remote behind a web server, for reading."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from edgepipe.remote.cloud import Cloud, status_reason
from edgepipe.remote.transport import RejectedError, Sink, UnavailableError, Upload

_ABSENT = {404, 410}


class Website(Cloud):
    """Files by GET below a URL."""

    async def _open(self) -> Any:
        import aiohttp
        from fsspec.asyn import get_loop
        from fsspec.implementations.http import HTTPFileSystem

        settings = self.settings
        # A body that inflates is none of ours.
        headers = {"Accept-Encoding": "identity"}
        if settings.user:
            login = f"{settings.user}:{settings.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        fs = HTTPFileSystem(
            loop=get_loop(),
            skip_instance_cache=True,
            client_kwargs={
                # Proxies and ~/.netrc, as other tools read them.
                "trust_env": not settings.user,
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
            async with session.get(self._url(name)) as response:
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
