"""A remote in a bucket of S3, or of what speaks its language: MinIO, R2, Ceph."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from edgepipe.remote.cloud import Cloud, status_reason
from edgepipe.remote.settings import Settings
from edgepipe.remote.transport import RejectedError, Sink, UnavailableError, Upload

T = TypeVar("T")
_PART = 8 << 20
_MOST_PARTS = 9000
"""Fewer than S3 allows."""
_PARTS_AT_ONCE = 2
"""Of each upload: eight of them go on at a time, and parts are in memory."""
_CONNECTIONS = 32


class Bucket(Cloud):
    """Objects below a prefix. A PUT is seen whole or not at all."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.bucket, _, prefix = settings.base.partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self._conditional = True

    async def _open(self) -> Any:
        import os

        from fsspec.asyn import get_loop
        from s3fs import S3FileSystem

        from edgepipe.remote.s3_session import Session

        settings = self.settings
        endpoint = settings.endpoint or None
        elsewhere = (
            endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        )
        fs = S3FileSystem(
            key=settings.user or None,
            secret=settings.password or None,
            endpoint_url=endpoint,
            loop=get_loop(),
            skip_instance_cache=True,
            use_listings_cache=False,
            config_kwargs={
                "connect_timeout": settings.timeout,
                "read_timeout": None,
                "http_session_cls": Session,
                "max_pool_connections": _CONNECTIONS,
                # The client of all transports tries again, and knows when to give up.
                "retries": {"total_max_attempts": 1},
                # Not every server knows the newer checksums; digests are checked here anyway.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                **({"s3": {"addressing_style": "path"}} if elsewhere else {}),
            },
        )
        fs.retries = 1
        await fs.set_session()
        return fs

    async def _call(self, method: str, **arguments: Any) -> Any:
        return await self._fs._call_s3(method, Bucket=self.bucket, **arguments)

    def _explained(self, error: Exception) -> UnavailableError:
        code, status = _answer(error)
        if code == "NoSuchBucket":
            return UnavailableError("there is no such bucket")
        return status_reason(status) if status >= 300 else super()._explained(error)

    def get(self, name: str, sink: Sink, limit: int, *, small: bool = False) -> bool:
        async def work() -> bool:
            try:
                answer = await self._call("get_object", Key=self.prefix + name)
            except Exception as error:
                code, status = _answer(error)
                if status == 404 and code != "NoSuchBucket":
                    return False
                raise
            body = answer["Body"]
            try:
                if answer.get("ContentLength", 0) > limit:
                    raise RejectedError(f"it has more than {limit} bytes")
                await self._pass_on(body.read, sink, limit)
            finally:
                body.close()
            return True

        return self._do(work(), small=small)

    def size(self, name: str) -> int | None:
        async def work() -> int | None:
            try:
                answer = await self._call("head_object", Key=self.prefix + name)
            except Exception as error:
                # The answer to HEAD has no body that could say what is missing.
                if _answer(error)[1] == 404:
                    return None
                raise
            return int(answer.get("ContentLength", -1))

        return self._do(work(), small=True)

    def put(self, name: str, upload: Upload, *, replace: bool) -> bool:
        try:
            return self._put(name, upload, replace)
        except _NotConditionalError:
            self._conditional = False
            return self._put(name, upload, replace)

    def _put(self, name: str, upload: Upload, replace: bool) -> bool:
        condition = {"IfNoneMatch": "*"} if self._conditional and not replace else {}

        async def work() -> bool:
            key = self.prefix + name
            try:
                if upload.size <= 2 * _PART:
                    body = b"".join(upload.chunks(_PART))
                    await self._call("put_object", Key=key, Body=body, **condition)
                else:
                    await self._put_parts(key, upload, condition)
            except Exception as error:
                code, status = _answer(error)
                if condition and (status == 412 or code == "PreconditionFailed"):
                    return False
                if condition and status == 501:
                    raise _NotConditionalError from None
                raise
            return True

        return self._do(work())

    async def _put_parts(self, key: str, upload: Upload, condition: dict[str, str]) -> None:
        started = await self._call("create_multipart_upload", Key=key)
        upload_id = started["UploadId"]

        async def send(number: int, piece: bytes) -> dict[str, Any]:
            answer = await self._call(
                "upload_part", Key=key, UploadId=upload_id, PartNumber=number, Body=piece
            )
            return {"PartNumber": number, "ETag": answer["ETag"]}

        try:
            parts: list[dict[str, Any]] = []
            numbered = enumerate(upload.chunks(max(_PART, upload.size // _MOST_PARTS)), 1)
            # The last step is taken only if chunks() ended well: all bytes were right.
            while some := [pair for _, pair in zip(range(_PARTS_AT_ONCE), numbered, strict=False)]:
                parts += await _together(send(*pair) for pair in some)
            await self._call(
                "complete_multipart_upload",
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
                **condition,
            )
        except BaseException:
            # Also when cancelled: parts that nobody completes are paid for and not seen.
            abort = self._call("abort_multipart_upload", Key=key, UploadId=upload_id)
            await asyncio.wait([self._clearing(abort)])
            raise

    def names(self, table: str) -> Iterator[str]:
        async def page(token: str | None) -> Any:
            more = {"ContinuationToken": token} if token else {}
            return await self._call("list_objects_v2", Prefix=f"{self.prefix}{table}/", **more)

        token: str | None = None
        tokens = set()
        while True:
            answer = self._do(page(token))
            for item in answer.get("Contents", ()):
                yield item["Key"].removeprefix(f"{self.prefix}{table}/").replace("/", "")
            token = answer.get("NextContinuationToken")
            if not token:
                return
            if token in tokens:
                raise UnavailableError("its list has no end")
            tokens.add(token)

    async def _shut(self, fs: Any) -> None:
        await fs._s3creator.__aexit__(None, None, None)


async def _together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all give; nothing goes on after one of them failed."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _NotConditionalError(UnavailableError):
    """The server does not know conditional writes."""

    def __init__(self) -> None:
        super().__init__("it knows no conditional writes")


def _answer(error: BaseException) -> tuple[str, int]:
    """S3's error code and the HTTP status of a failed call; ("", 0) if there was no answer."""
    for item in (error, error.__cause__, error.__context__):
        response = getattr(item, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return "", 0
