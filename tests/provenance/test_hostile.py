"""Files made to break their reader: mutations of every seed of the fuzzing benchmark, bombs and lying headers."""

import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError
from provenance_samples import picture

from nonesuch.provenance.marking.drawn_image import MarkedFile
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.provenance.verifying.verify import verify_file
from tools.mutations import mutate, pixels, seeds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def originals(home: Path) -> list[bytes]:
    return seeds(home)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 9))])
def test_mutated_files_get_verdicts(originals: list[bytes], ask: Callable[..., Verdict], seed: int) -> None:
    shown = {None, *(pixels(data) for data in originals)}
    rng = random.Random(seed)
    for _ in range(100):
        data = mutate(rng.choice(originals), originals, rng)
        verdict = ask(data)
        json.dumps(verdict.to_json())
        if verdict.integrity == "intact" and verdict.trust == "own":
            assert pixels(data) in shown


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes, width: int = 8, height: int = 8) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def test_a_header_of_too_many_pixels_is_refused_before_decoding(ask: Callable[..., Verdict]) -> None:
    verdict = ask(png(chunk(b"IDAT", zlib.compress(b"\0" * 99)), width=200_000, height=200_000))
    assert verdict.integrity == "unreadable"
    assert "limit" in str(verdict.error)


def test_a_file_over_the_byte_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: takes no room
    verdict = verify_file(path, home=tmp_path)
    assert "limit" in str(verdict.error)


def test_folders_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    import os

    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        assert verify_file(path, home=tmp_path).integrity == "unreadable"


def test_compressed_text_that_unpacks_to_gigabytes(ask: Callable[..., Verdict]) -> None:
    engine = zlib.compressobj(9)
    bomb = b"".join(engine.compress(b"\0" * (1 << 20)) for _ in range(256)) + engine.flush()
    rows = zlib.compress(b"\0" * (8 * 25))
    data = png(
        chunk(b"zTXt", b"parameters\0\0" + bomb),
        chunk(b"iTXt", b"prompt\0\x01\0\0\0" + bomb),
        chunk(b"IDAT", rows),
    )
    verdict = ask(data)
    assert (verdict.verdict, verdict.recipe) == ("no-evidence", None)


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"a":' * 100_000, '{"1": {"class_type": ' + "[" * 9_000])
def test_json_nested_without_end(ask: Callable[..., Verdict], nested: str) -> None:
    texts = [chunk(b"tEXt", key + b"\0" + nested.encode()) for key in (b"prompt", b"parameters", b"Comment")]
    data = png(*texts, chunk(b"tEXt", b"Software\0NovelAI"), chunk(b"IDAT", zlib.compress(b"\0" * 200)))
    verdict = ask(data)
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "claimed")  # by the Software field alone


def test_numbers_too_large_for_anything(ask: Callable[..., Verdict]) -> None:
    text = f"x\nSteps: {'9' * 5000}, Seed: 1e400, CFG scale: nan, Size: {'8' * 90}x1, Sampler: y"
    data = png(chunk(b"tEXt", b"parameters\0" + text.encode()), chunk(b"IDAT", zlib.compress(b"\0" * 200)))
    verdict = ask(data)
    json.dumps(verdict.to_json(), allow_nan=False)


def test_thousands_of_chunks_and_segments(ask: Callable[..., Verdict]) -> None:
    many = [chunk(b"tEXt", b"k%d\0v" % number) for number in range(20_000)]
    assert ask(png(*many, chunk(b"IDAT", zlib.compress(b"\0" * 200)))).verdict == "no-evidence"
    file = io.BytesIO()
    Image.fromarray(picture(size=64)).save(file, "JPEG")
    segments = b"\xff\xfe\x00\x04ab" * 20_000
    data = file.getvalue()
    assert ask(data[:2] + segments + data[2:]).verdict == "no-evidence"


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_every_cut_of_a_marked_file(
    marked: dict[str, MarkedFile], ask: Callable[..., Verdict], name: str
) -> None:
    data = marked[name].data
    for keep in [*range(0, 64, 5), *range(64, len(data) - 1, len(data) // 25)]:
        verdict = ask(data[:keep])
        assert verdict.integrity != "intact"


def test_two_stores_in_one_file(marked: dict[str, MarkedFile], ask: Callable[..., Verdict]) -> None:
    data = marked["png"].data
    at = data.find(b"caBX") - 4
    (size,) = struct.unpack(">I", data[at : at + 4])
    twice = data[:at] + data[at : at + 12 + size] * 2 + data[at + 12 + size :]
    assert ask(twice).integrity != "intact"


def test_a_wrong_checksum_that_browsers_overlook_hides_nothing(
    marked: dict[str, MarkedFile], ask: Callable[..., Verdict]
) -> None:
    data = bytearray(marked["png"].data)
    at = data.find(b"caBX") - 4
    (size,) = struct.unpack(">I", data[at : at + 4])
    data[at + 8 + size] ^= 1  # the chunk's checksum
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data))
    verdict = ask(bytes(data))
    assert verdict.watermark is not None
    assert verdict.verdict == "ai-generated"
