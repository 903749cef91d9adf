"""The parts of the server by themselves: forms, soft-binding values, workers that are killed, plain words."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_samples import encoded, picture

from nonesuch.foundation.errors import InputError
from nonesuch.provenance.evidence import Evidence
from nonesuch.provenance.verifying.verdict import OWN_ANCHOR, Verdict
from nonesuch.provenance.watermark import embed
from nonesuch.web.app import create_app
from nonesuch.web.facts import plain
from nonesuch.web.pool import Pool, WorkerFailed
from nonesuch.web.repository import FINGERPRINT, active_only, parse_binding
from nonesuch.web.upload_limits import Limits, Refused
from nonesuch.web.uploads import parse_form
from nonesuch.web.verdict_words import explain

pytestmark = pytest.mark.slow

FORM = "multipart/form-data; boundary=XBOUNDARYX"


def form(name: str, data: bytes) -> bytes:
    quoted = (
        name.encode()
        .replace(b"\\", b"\\\\")
        .replace(b'"', b"%22")
        .replace(b"\r", b"%0D")
        .replace(b"\n", b"%0A")
    )
    return (
        b'--XBOUNDARYX\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
        b'--XBOUNDARYX\r\nContent-Disposition: form-data; name="file"; filename="' + quoted + b'"\r\n'
        b"Content-Type: image/png\r\n\r\n" + data + b"\r\n--XBOUNDARYX--\r\n"
    )


@given(
    st.binary(max_size=300), st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=20)
)
def test_a_form_gives_back_its_file(data: bytes, name: str) -> None:
    if b"XBOUNDARYX" in data:
        return
    upload = parse_form(form(f"C:\\x/{name}.png", data), FORM)
    assert (upload.name, upload.data) == (f"{name}.png", data)


@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 300))
def test_a_damaged_form_is_refused_or_read_but_never_breaks(junk: bytes, start: int, length: int) -> None:
    body = bytearray(form("a.png", b"123"))
    body[start : start + length] = junk
    with suppress(Refused):
        parse_form(bytes(body), FORM)


@given(st.integers(0, 2**64 - 1))
def test_a_binding_is_read_as_digits_and_as_base64(bits: int) -> None:
    digits = f"{bits:016x}"
    for value in (digits, base64.b64encode(digits.encode()).decode()):
        assert parse_binding(FINGERPRINT, value) == bits


@given(st.text(max_size=40))
def test_other_binding_values_are_refused(value: str) -> None:
    with suppress(InputError):
        assert 0 <= parse_binding(FINGERPRINT, value) < 2**64


@given(st.binary(max_size=100))
def test_a_broken_manifest_store_is_refused(store: bytes) -> None:
    with pytest.raises(InputError):
        active_only(store)


@given(st.text(max_size=60))
def test_plain_text_is_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()


VERDICTS = ["ai-generated", "ai-edited", "captured", "no-evidence", "conflict"]


@pytest.mark.parametrize(
    ("answer", "confidence", "integrity"),
    [
        *itertools.product(
            VERDICTS, ["none", "claimed", "strong", "proven"], ["intact", "altered", "unsigned", "unreadable"]
        )
    ],
)
def test_every_verdict_has_words_with_their_limits(answer: str, confidence: str, integrity: str) -> None:
    for kind, trust, error in itertools.product(
        ["credential", "watermark", "catalog", "metadata:exif"],
        ["listed", "own", "unlisted", "none"],
        [None, "cut short"],
    ):
        said = explain(
            Verdict(
                path="a.png", verdict=answer, confidence=confidence, integrity=integrity, trust=trust,  # type: ignore[arg-type]
                signed_by="A <b>", signed_at="2026-01-01T00:00:00+00:00", time="ok", generator=None,
                digital_source_type=(), watermark={"payload": "0" * 16, "false_alarm": 3e-10}, catalog=None, recipe=None,
                evidence=(Evidence(kind, answer, confidence, "detail"),) if answer != "no-evidence" else (),  # type: ignore[arg-type]
                trust_list={"date": None, "sha256": ""}, error=error,
            )
        )  # fmt: skip
        assert said.headline
        assert said.lead
        assert said.does_not_mean
        text = " ".join((said.headline, said.lead, *said.means, *said.does_not_mean)).lower()
        assert not {" real ", " genuine ", " authentic "} & {f" {word} " for word in text.split()}
        if confidence == "claimed" and answer.startswith("ai"):
            assert "claimed to be" in text


def test_a_visitor_is_not_told_that_the_server_s_anchors_are_theirs() -> None:
    verdict = Verdict(
        path="a.png", verdict="ai-generated", confidence="proven", integrity="intact", trust="own",
        signed_by="local", signed_at=None, time="ok", generator=None, digital_source_type=(), watermark=None,
        catalog=None, recipe=None, trust_list={"date": None, "sha256": ""}, error=None,
        evidence=(Evidence("credential", "ai-generated", "proven", f"signed by local, {OWN_ANCHOR}."),),
    )  # fmt: skip
    said = explain(verdict)
    assert "this server's own anchors" in said.found[0].detail
    assert "this server's own anchors" in dict(said.facts)["Signer"]
    assert "your own" not in f"{said} {verdict.to_json()}"


def asked(
    limits: Limits, *calls: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
) -> list[httpx.Response]:
    """What an application with those limits answers, in this process; its workers are children of ours."""

    async def work() -> list[httpx.Response]:
        app = create_app(limits=limits)
        transport = httpx.ASGITransport(app=app)
        try:
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost", timeout=120
            ) as client:
                return list(await asyncio.gather(*(call(client) for call in calls)))
        finally:
            await app.state.site.pool.stop()

    return asyncio.run(work())


def test_a_server_with_a_secret_key_finds_its_marks_and_tells_nobody_the_key() -> None:
    key = b"a secret key of some length"
    data = encoded(embed(picture(1), 0xABCDEF, key=key))

    async def work() -> tuple[httpx.Response, httpx.Response]:
        answers = []
        for secret in (None, key):
            app = create_app(limits=Limits(workers=1), watermark_key=secret)
            transport = httpx.ASGITransport(app=app)
            try:
                async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                    answers.append(await client.post("/api/verify", content=data, timeout=120))
            finally:
                await app.state.site.pool.stop()
        return answers[0], answers[1]

    blind, seeing = asyncio.run(work())
    assert blind.json()["watermark"] is None
    assert seeing.json()["watermark"]["payload"] == f"{0xABCDEF:016x}"
    assert key.hex() not in seeing.text
    assert key.decode() not in seeing.text


def test_a_file_that_takes_too_long_costs_its_worker_and_gets_a_verdict() -> None:
    data = encoded(picture(1))
    (answer,) = asked(Limits(seconds=1e-4, workers=1), lambda c: c.post("/api/verify", content=data))
    assert answer.status_code == 200
    assert answer.json()["verdict"] == "no-evidence"
    assert "longer than" in answer.json()["error"]


def test_a_body_without_a_length_is_cut_off_at_the_limit() -> None:
    sent = 0

    async def endless() -> object:
        nonlocal sent
        while sent < 1 << 20:
            sent += 1000
            yield b"x" * 1000

    (answer,) = asked(Limits(max_bytes=10_000), lambda c: c.post("/api/verify", content=endless()))
    assert answer.status_code == 413


def test_more_uploads_than_fit_into_memory_are_put_off() -> None:
    async def slow(client: httpx.AsyncClient) -> httpx.Response:
        async def body() -> object:
            yield b"GIF89a"
            await asyncio.sleep(0.2)
            yield b"..."

        return await client.post("/api/verify", content=body())

    limits = Limits(memory=17, workers=1)  # one upload has 9 bytes
    answers = asked(limits, slow, slow)
    assert sorted(answer.status_code for answer in answers) == [200, 503]
    assert {answer.headers.get("retry-after") is None for answer in answers if answer.status_code == 503} == {
        False
    }
    assert [answer.status_code for answer in asked(limits, slow)] == [200]  # what they held is given back


def test_an_upload_that_never_ends_is_broken_off() -> None:
    async def stalls() -> object:
        yield b"GIF89a"
        await asyncio.sleep(3600)

    (answer,) = asked(Limits(upload_seconds=0.05), lambda c: c.post("/api/verify", content=stalls()))
    assert answer.status_code == 408


STEP = {"left": "its pixels were not searched", "verdict": "so far"}


class Scripted(Pool):
    """A pool whose workers say what they are told to and then do as `end` says."""

    def __init__(self, end: str, seconds: float, wait: float = 60) -> None:
        super().__init__({}, size=1, seconds=seconds, wait=wait)
        self._script = f"import os, time; print({json.dumps(json.dumps(STEP))}, flush=True); {end}"

    async def _start(self) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", self._script, stdin=PIPE, stdout=PIPE
        )


@pytest.mark.parametrize(
    ("end", "seconds", "why"),
    [
        ("os.abort()", 60, "the file crashed the process that read it"),
        ("time.sleep(600)", 0.5, "took longer than 0.5 s"),
        ("exec('while True: pass')", 0.5, "took longer than"),
    ],
)
def test_what_a_worker_found_before_it_ended_is_kept(end: str, seconds: float, why: str) -> None:
    async def work() -> None:
        with pytest.raises(WorkerFailed, match=why) as told:
            await Scripted(end, seconds).ask("verify", b"x", name="a")
        assert told.value.last == STEP

    asyncio.run(work())


def test_who_finds_all_workers_busy_is_told_when_to_come_back() -> None:
    async def work() -> None:
        pool = Scripted("time.sleep(600)", 3600, wait=0.1)
        first = asyncio.ensure_future(pool.ask("verify", name="a"))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as told:
            await pool.ask("verify", name="b")
        assert (told.value.status, bool(told.value.retry)) == (503, True)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(work())


def test_a_worker_that_died_is_replaced() -> None:
    settings = {"catalog": None, "trust": None, "max_pixels": 1_000_000}

    async def work() -> None:
        pool = Pool(settings, size=1, seconds=60)
        try:
            await pool.warm()
            pool._idle[0].kill()
            await pool._idle[0].wait()
            first = await pool.ask("verify", b"hello", name="a")
            assert first["verdict"]["error"]
            second = await pool.ask("no such job")
            assert "AttributeError" in second["failed"]
            pool._idle[0].kill()  # as the kernel does when memory runs out
            with pytest.raises(WorkerFailed, match="crashed"):
                await pool.ask("verify", b"hello", name="a")
            third = await pool.ask("verify", b"hello", name="a")
            assert third == first
        finally:
            await pool.stop()

    asyncio.run(work())


def test_the_application_needs_a_catalog_only_for_manifests(tmp_path: Path) -> None:
    (answer,) = asked(Limits(), lambda c: c.get("/manifests/urn:c2pa:0"))
    assert answer.status_code == 503
    with pytest.raises(InputError):
        create_app(tmp_path / "nothing")
