"""Fuzzing verify: mutated files of every format it reads; every one must give a verdict, in time and in memory.

    python benchmarks/fuzz_verify.py --mutations 50000 --seed 1 --out fuzz.json

Seeds are built here (marked files, foreign metadata, AVIF, HEIF, TIFF, GIF, heaps of chunks). A mutation flips bytes,
cuts, repeats, splices two files, or lies about a length. Each runs in this process; a crash of native code ends
the run and leaves the file in `--keep`. A credential of ours that is called intact must cover the pixels that it
was made for (its own padding may change: C2PA leaves it unsigned).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import resource
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.marking.drawn_image import MarkRequest, mark_image
from nonesuch.provenance.signing.signer import open_signer
from nonesuch.provenance.verifying.verify import VerifyOptions, verify_bytes

SLOW = 10.0  # seconds of processor time for one file that count as a hang
ANSWERS = {"ai-generated", "ai-edited", "captured", "no-evidence", "conflict"}
PARAMETERS = "a fox\nNegative prompt: x\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x64"
GRAPH = {"1": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["2", 0]}},
         "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox"}}}  # fmt: skip


def seeds(home: Path) -> list[bytes]:
    """Files to start from, small so that many mutations can be tried."""
    signer = open_signer(home)
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    found = []
    for name in ("png", "jpeg", "webp"):
        request = MarkRequest(1, {"prompt": "a fox"}, "fox", "embedded", format=name)  # type: ignore[arg-type]
        found.append(mark_image(image, request, signer).data)
    parents = MarkRequest(2, {}, "child", "embedded", parents=(found[1],), source_type="humanEdits")
    found.append(mark_image(image, parents, signer).data)
    pillow_heif.register_heif_opener()
    picture = Image.fromarray(image)
    for texts in ({"parameters": PARAMETERS}, {"prompt": json.dumps(GRAPH)}, {"Software": "NovelAI"}):
        info = PngInfo()
        for key, value in texts.items():
            info.add_text(key, value, zip=True)
        found.append(_saved(picture, "PNG", pnginfo=info))
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Make", "Model"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + PARAMETERS.encode("utf-16-be")
    found += [_saved(picture, name, exif=exif) for name in ("JPEG", "WEBP", "AVIF", "TIFF", "HEIF")]
    found.append(_saved(picture, "GIF"))
    found.append(_with_iim(_saved(picture, "JPEG")))
    return found


def _with_iim(jpeg: bytes) -> bytes:
    """A JPEG with a credit line in IPTC-IIM, in Photoshop's resource blocks."""
    texts = {90: b"\x1b%G", 110: b"Made with Google AI", 120: PARAMETERS.encode()}
    iim = b"".join(
        struct.pack(">BBBH", 0x1C, 1 if number == 90 else 2, number, len(text)) + text
        for number, text in texts.items()
    )
    block = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(iim)) + iim
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def _saved(picture: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def pixels(data: bytes) -> str | None:
    """The digest of a file's decoded pixels; None when it can't be decoded."""
    try:
        return hashlib.sha256(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).tobytes()).hexdigest()
    except Exception:
        return None


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One to four changes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if len(out) < 16:
            break
        at = rng.randrange(len(out))
        # Heads of files hold the structures; half of the changes go there.
        if rng.random() < 0.5:
            at = rng.randrange(min(len(out), 6000))
        kind = rng.randrange(8)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + rng.randint(1, 64)] = rng.randbytes(rng.randint(0, 64))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            part = out[at : at + rng.randint(1, 2000)]
            out[at:at] = part * rng.randint(1, 3)
        elif kind == 4:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            out[at : at + rng.randint(0, 500)] = other[start : start + rng.randint(1, 3000)]
        elif kind == 5:
            lie = rng.choice([0, 1, 7, 8, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF, len(out)])
            out[at : at + 4] = struct.pack(rng.choice([">I", "<I"]), lie)
        elif kind == 6:
            del out[at : at + rng.randint(1, 300)]
        else:
            out[at] = rng.choice([0, 0xFF, 0x7F, 0x80])
    return bytes(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--search", choices=["aligned", "full"], default="aligned")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "nonesuch-fuzz")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="nonesuch-fuzz-home-"))
    originals = seeds(home)
    shown = {None, *(pixels(data) for data in originals)}  # None: a file that no longer shows anything
    trust, options = load_trust(None, home), VerifyOptions(home=home, search=arguments.search)
    rng = random.Random(arguments.seed)
    current = arguments.keep / "current.bin"
    faults: list[dict[str, object]] = []
    answers: dict[str, int] = {}
    slowest = 0.0
    started = time.monotonic()
    for number in range(arguments.mutations):
        data = mutate(rng.choice(originals), originals, rng)
        current.write_bytes(data)
        before = time.process_time()
        fault = None
        try:
            verdict = verify_bytes(data, "x", options, trust)
        except Exception as error:
            fault = f"raised {type(error).__name__}: {error}"
        else:
            key = f"{verdict.verdict} {verdict.integrity}"
            answers[key] = answers.get(key, 0) + 1
            json.dumps(verdict.to_json())
            if verdict.verdict not in ANSWERS:
                fault = f"answered {verdict.verdict}"
            elif verdict.integrity == "intact" and verdict.trust == "own" and pixels(data) not in shown:
                fault = "called a changed picture intact"
        spent = time.process_time() - before
        slowest = max(slowest, spent)
        if spent > SLOW:
            fault = f"took {spent:.1f} s"
        if fault:
            kept = arguments.keep / f"{arguments.seed}-{number}.bin"
            kept.write_bytes(data)
            faults.append({"mutation": number, "fault": fault, "file": kept.name})
            print(f"{number}: {fault}", file=sys.stderr)
    report = {
        "mutations": arguments.mutations,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - started, 1),
        "slowest_seconds": round(slowest, 3),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "answers": dict(sorted(answers.items())),
        "faults": faults,
    }
    print(json.dumps(report, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
