"""Taking an uploaded image into memory, never onto disk: as the body itself, or as a form's file.

The project has its own form parser because the usual one spools files to disk.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from nonesuch.web.upload_limits import RETRY, Limits, Refused

_FORM_OVERHEAD = 64 << 10  # bytes of a form around its file
_MAX_PARTS = 16
_MAX_PART_HEADER = 8 << 10
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_FILENAME = re.compile(rb';\s*filename="((?:[^"\\\r\n]|\\.)*)"', re.IGNORECASE)
_ESCAPED = re.compile(rb"\\(.)|%(22|0D|0A)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded image."""

    name: str  # its file name without folders; "upload" when it has none
    data: bytes


class Held:
    """The memory that all uploads use together."""

    def __init__(self) -> None:
        self.bytes = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """One upload's share of it, released at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.bytes -= share.bytes


class Share:
    """One upload's share of the memory for all."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self.bytes = 0

    def grow(self, count: int, most: int) -> None:
        """Reserve `count` more bytes. Raises Refused 503 when all uploads together would use more than `most`."""
        if self._held.bytes + count > most:
            raise Refused(503, "the server is busy; try again in a moment", retry=RETRY)
        self._held.bytes += count
        self.bytes += count


async def read_upload(request: Request, limits: Limits, share: Share) -> Upload:
    """The image that a request carries, as the whole body or as the first file of a multipart/form-data form.

    Raises Refused: 400 for an empty body or a broken form, 408 for a body that takes too long, 413 for one that is
    too large, 415 for a compressed one, 503 when memory is short.
    """
    content_type = request.headers.get("content-type", "")
    is_form = content_type.lower().startswith("multipart/form-data")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "compressed uploads are not accepted; send the file uncompressed")
    most = limits.max_bytes + (_FORM_OVERHEAD if is_form else 0)
    body = await _read_body(request, most, limits, share)
    upload = parse_form(body, content_type) if is_form else Upload("upload", body)
    if not upload.data:
        raise Refused(400, "there is no image in the request")
    if len(upload.data) > limits.max_bytes:
        raise _too_large(limits)
    return upload


async def _read_body(request: Request, most: int, limits: Limits, share: Share) -> bytes:
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or int(said) > most:
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in request.stream():
                share.grow(len(chunk), limits.memory)
                body += chunk
                if len(body) > most:
                    raise _too_large(limits)
    except TimeoutError as error:
        raise Refused(408, f"the upload took longer than {limits.upload_seconds:g} s") from error
    except ClientDisconnect as error:
        raise Refused(400, "the upload was interrupted") from error
    return bytes(body)


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"the file is larger than {limits.max_bytes / (1 << 20):g} MiB")


def parse_form(body: bytes, content_type: str) -> Upload:
    """The first file of a multipart/form-data body (RFC 7578). Raises Refused 400 for a broken or fileless form."""
    found = _BOUNDARY.search(content_type)
    if not found:
        raise Refused(400, "the form has no boundary parameter")
    delimiter = b"--" + (found[1] or found[2]).encode("latin-1", "replace")
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if at == 1:
        raise Refused(400, "the form does not contain its boundary")
    for _ in range(_MAX_PARTS):
        start = at + len(delimiter)
        if body[start : start + 2] != b"\r\n":  # the last boundary ends with two hyphens
            break
        head_end = body.find(b"\r\n\r\n", start, start + _MAX_PART_HEADER)
        end = body.find(b"\r\n" + delimiter, head_end + 2)
        if head_end < 0 or end < 0:
            raise Refused(400, "the form is incomplete")
        name = _file_name(body[start:head_end])
        if name is not None:
            return Upload(name, body[head_end + 4 : end])
        at = end + 2
    raise Refused(400, "there is no file in the form")


def _file_name(header: bytes) -> str | None:
    for line in header.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-disposition":
            found = _FILENAME.search(value)
            if found:
                whole = _ESCAPED.sub(lambda m: m[1] or bytes([int(m[2], 16)]), found[1])
                last = whole.decode("utf-8", "replace").replace("\\", "/").rsplit("/", 1)[-1]
                return "".join(c for c in last if c.isprintable())[:255] or "upload"
    return None
