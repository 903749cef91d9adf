"""The server under load: many visitors and uploads at once, with attackers beside them who hold connections.

    python -m benchmarks.server_load --folder /tmp/bench [--clients 50] [--seconds 60] [--json FILE]

Builds a synthetic catalog whose embeddings are those of the embedded encoder's kind, starts `nonesuch serve` on it as
its own process, and lets `--clients` visitors ask for pages and send images to verify, each after a pause of
`--pause` seconds on average. Every answer's content is checked: each upload has a text of its own that must come
back. An answer 503 with Retry-After is asked for again, and counted. Beside them `--half` connections with half a
header and `--slow` uploads of a byte a second are opened again as soon as they are closed. Prints a Markdown table of
latencies, what was put off or wrong, and the memory of the server and its workers before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from benchmarks import catalog_rows
from benchmarks.machine import machine, today
from nonesuch.catalogs.query import Catalog

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from serving import serving

FILES = 200  # images of the catalog that have a file
PARAMETERS = "fox {number}\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: {number}, Size: 512x512"
Page = Callable[[httpx.AsyncClient, random.Random], Awaitable[httpx.Response]]


class Wrong(Exception):
    """An answer that is not what was asked for."""


def build(out: Path, rows: int) -> None:
    """The catalog: synthetic rows with the embedded encoder's tag, and files for some of them."""
    from nonesuch.scoring.encoders import open_encoder

    encoder = open_encoder("embedded")
    catalog_rows.build(
        out, rows, 10_000, encoder.dim, np.random.default_rng(0), encoder=f"embedded {encoder.tag}"
    )
    for number, file in enumerate(some(out)["file"].to_pylist()):
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_bytes(picture(number, 512))


def some(out: Path) -> object:
    """The rows that have a file, as an Arrow table."""
    return Catalog(out).query(
        "status = 'ok'", order="recipe_id", top=FILES, columns=["recipe_id", "file"], as_arrow=True
    )


def picture(number: int, side: int, kind: str = "PNG") -> bytes:
    """A picture of its own for each number."""
    coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


def told(data: bytes, number: int) -> bytes:
    """A PNG file with A1111 parameters that name `number`."""
    body = b"tEXtparameters\0" + PARAMETERS.format(number=number).encode()
    return (
        data[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
    )


def signed(home: Path) -> bytes:
    """A marked and signed JPEG file."""
    from nonesuch.provenance.marking.drawn_image import mark_image
    from nonesuch.provenance.request import MarkRequest
    from nonesuch.provenance.signing.signer import open_signer

    request = MarkRequest(
        watermark_payload=0x0123456789ABCDEF,
        recipe={"seed": 7},
        title="fox",
        generator="embedded",
        format="jpeg",
    )
    image = np.asarray(Image.open(io.BytesIO(picture(1, 512))))
    return mark_image(image, request, open_signer(home)).data


def pages(ids: list[str], marked: bytes) -> dict[str, tuple[int, Page]]:
    """Each kind of request with how often it is made, out of 100."""
    plain = picture(2, 512)

    def page(path: Callable[[random.Random], str], *marks: str) -> Page:
        async def ask(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
            answer = await client.get(path(rng))
            if answer.status_code == 200 and not all(mark in answer.text for mark in marks):
                raise Wrong(f"{answer.url}: {answer.text[:300]}")
            return answer

        return ask

    async def thumb(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
        answer = await client.get(f"/thumb/{rng.choice(ids)}")
        if answer.status_code == 200:
            Image.open(io.BytesIO(answer.content)).verify()
        return answer

    async def with_parameters(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
        number = rng.randrange(10**9)
        answer = await client.post("/api/verify", content=told(plain, number))
        if answer.status_code == 200:
            found = answer.json()
            if found["error"] or (found["recipe"] or {}).get("prompt") != f"fox {number}":
                raise Wrong(f"verify fox {number}: {answer.text[:600]}")
        return answer

    async def with_credential(client: httpx.AsyncClient, rng: random.Random) -> httpx.Response:
        answer = await client.post("/api/verify", files={"file": (f"{rng.random()}.jpg", marked)})
        if answer.status_code == 200 and answer.json()["confidence"] != "proven":
            raise Wrong(f"verify signed: {answer.text[:600]}")
        return answer

    def artist(rng: random.Random) -> str:
        return rng.choice(catalog_rows.ARTISTS)

    return {
        "gallery, first screen": (20, page(lambda _: "/gallery", 'class="tile" data-id="', "</html>")),
        "gallery, one artist": (
            10,
            page(lambda r: f"/gallery?f.artist={artist(r)}", 'class="tile" data-id="'),
        ),
        "gallery, search by text": (
            10,
            page(lambda r: f"/gallery?like=a fox {r.randrange(10**6)}", 'class="tile" data-id="', "</html>"),
        ),
        "X/Y grid": (5, page(lambda r: f"/grid?min.sharpness={r.random()}", "</html>")),
        "one image": (10, page(lambda r: f"/image/{r.choice(ids)}", "</html>")),
        "thumbnail": (25, thumb),
        "start page": (5, page(lambda _: "/", "</html>")),
        "verify, signed JPEG 512×512": (8, with_credential),
        "verify, PNG 512×512 with parameters": (7, with_parameters),
    }


async def visit(
    base: str, number: int, until: float, pause: float, kinds: dict[str, tuple[int, Page]], seen: Seen
) -> None:
    """One visitor's requests until the time is over."""
    rng = random.Random(number)
    names, weights = list(kinds), [weight for weight, _ in kinds.values()]
    async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as client:
        await asyncio.sleep(rng.uniform(0, pause))
        while time.monotonic() < until:
            name = rng.choices(names, weights)[0]
            try:
                while True:
                    begun = time.monotonic()
                    answer = await kinds[name][1](client, rng)
                    seen.seconds[name].append(time.monotonic() - begun)
                    if answer.status_code != 503:
                        break
                    seen.put_off[name] += 1
                    await asyncio.sleep(float(answer.headers["retry-after"]))
                if answer.status_code != 200:
                    raise Wrong(f"{answer.url}: {answer.status_code} {answer.text[:300]}")
            except (Wrong, httpx.HTTPError, KeyError) as error:
                seen.wrong.append(f"{name}: {error!r}")
            await asyncio.sleep(rng.expovariate(1 / pause))


class Seen:
    """What the visitors saw."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.put_off: Counter[str] = Counter()  # answered with 503
        self.wrong: list[str] = []
        self.closed: Counter[str] = Counter()  # attackers' connections


async def attack(base: str, kind: str, start: bytes, seen: Seen) -> None:
    """Hold a connection with `start` and a byte a second, and open it again when it is closed."""
    where = urlsplit(base)
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(start)
            ended = asyncio.ensure_future(reader.read())
            ended.add_done_callback(lambda done: done.cancelled() or done.exception())  # however it ends
            while not ended.done():
                await asyncio.wait([ended], timeout=1)
                writer.write(b"x")
                await writer.drain()
        seen.closed[kind] += 1
        with suppress(OSError):
            writer.close()
        await asyncio.sleep(0.2)


async def load(base: str, options: argparse.Namespace, kinds: dict[str, tuple[int, Page]]) -> Seen:
    """All visitors and attackers for the time."""
    seen = Seen()
    half, slow = (
        b"GET / HTTP/1.1\r\nHost: loc",
        b"POST /api/verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n",
    )
    attackers = [asyncio.create_task(attack(base, "half a header", half, seen)) for _ in range(options.half)]
    attackers += [asyncio.create_task(attack(base, "slow upload", slow, seen)) for _ in range(options.slow)]
    until = time.monotonic() + options.seconds
    await asyncio.gather(
        *(visit(base, number, until, options.pause, kinds, seen) for number in range(options.clients))
    )
    for one in attackers:
        one.cancel()
    await asyncio.gather(*attackers, return_exceptions=True)
    return seen


def memory(parent: int) -> dict[str, float]:
    """Resident memory in MB of the servers that this process started, and of their workers."""
    found = {"server": 0.0, "workers": 0.0}
    children = defaultdict(list)
    for name in os.listdir("/proc"):
        with suppress(OSError, ValueError):
            stat = Path(f"/proc/{int(name)}/stat").read_text().rpartition(")")[2].split()
            children[int(stat[1])].append((int(name), int(stat[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6))
    for server, size in children[parent]:
        found["server"] += size
        found["workers"] += sum(size for _, size in children[server])
    return found


def main() -> None:
    """Build, serve, load, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the catalog is built and kept")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=5, help="mean seconds between a visitor's requests")
    parser.add_argument("--half", type=int, default=300, help="connections with half a header")
    parser.add_argument("--slow", type=int, default=20, help="uploads of a byte a second")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    out: Path = options.folder / f"load-{options.rows}"
    if not out.exists():
        build(out, options.rows)
    ids = some(out)["recipe_id"].to_pylist()
    with tempfile.TemporaryDirectory() as home:
        kinds = pages(ids, signed(Path(home)))
        begun = time.monotonic()
        with serving("--catalog", out, home=Path(home)) as base:
            with httpx.Client(base_url=base, timeout=300, trust_env=False) as client:
                client.get("/gallery").raise_for_status()
                first = time.monotonic() - begun
                while client.get("/gallery?like=fox").status_code == 503:
                    pass
                warm = time.monotonic() - begun
            short = argparse.Namespace(**{**vars(options), "seconds": options.seconds / 6})
            asyncio.run(load(base, short, kinds))  # every worker has started, every page has been seen
            before = memory(os.getpid())
            average = os.getloadavg()[0]
            seen = asyncio.run(load(base, options, kinds))
            after = memory(os.getpid())
    print(f"{machine()}; {today()}; load average before {average:.1f}\n")
    print("| page | responses | p50, ms | p95, ms | p99, ms | postponed |\n|---|---|---|---|---|---|")
    for name in kinds:
        times = seen.seconds[name] or [0.0]
        shown = " | ".join(f"{1000 * float(np.quantile(times, share)):.0f}" for share in (0.5, 0.95, 0.99))
        print(f"| {name} | {len(times)} | {shown} | {seen.put_off[name]} |")
    print(f"\nfirst page {first:.1f} s, search by text ready {warm:.1f} s after the start")
    print(f"wrong or lost: {len(seen.wrong)}", *seen.wrong[:5], sep="\n")
    print(f"attackers' connections closed: {dict(seen.closed)}")
    for kind in before:
        print(f"memory of {kind}: {before[kind]:.0f} MB before, {after[kind]:.0f} MB after")
    if options.json:
        figures = {
            "machine": machine(), "date": today(), "load_average": average, "seconds": seen.seconds,
            "put_off": seen.put_off, "wrong": seen.wrong, "closed": seen.closed, "before": before, "after": after,
            "first": first, "warm": warm,
        }  # fmt: skip
        options.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
