"""IPTC-IIM: read from JPEG, PNG and TIFF, never believed more than a claim, safe on hostile bytes."""

import io
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from provenance_samples import picture

from nonesuch.formats.iim import FIELDS, MAX_DATASETS, PHOTOSHOP, iim_of_resources, parse_iim
from nonesuch.formats.raw_fields import read_source
from nonesuch.provenance.verifying.verdict import Verdict

NUMBERS = {name: number for number, name in FIELDS.items()}


def dataset(record: int, number: int, value: bytes, *, extended: bool = False) -> bytes:
    if extended:
        return bytes((0x1C, record, number)) + struct.pack(">HI", 0x8004, len(value)) + value
    return bytes((0x1C, record, number)) + struct.pack(">H", len(value)) + value


def datasets(**texts: str) -> bytes:
    head = dataset(1, 90, b"\x1b%G")
    return head + b"".join(dataset(2, NUMBERS[name], text.encode()) for name, text in texts.items())


def resource(number: int, data: bytes, name: bytes = b"") -> bytes:
    pascal = bytes((len(name),)) + name
    pascal += b"\0" * (len(pascal) & 1)
    return (
        b"8BIM" + struct.pack(">H", number) + pascal + struct.pack(">I", len(data)) + data
        + b"\0" * (len(data) & 1)
    )  # fmt: skip


def blocks(iim: bytes) -> bytes:
    return resource(0x03ED, b"\0" * 15) + resource(0x0404, iim, b"odd") + resource(0x0425, b"\0" * 16)


def jpeg(iim: bytes, cut: int = 60_000) -> bytes:
    """A JPEG whose resource blocks are cut into segments of `cut` bytes."""
    file = io.BytesIO()
    Image.fromarray(picture(2, 64)).save(file, "JPEG")
    data, body = file.getvalue(), blocks(iim)
    segments = b""
    for start in range(0, len(body), cut):
        part = PHOTOSHOP + body[start : start + cut]
        segments += b"\xff\xed" + struct.pack(">H", len(part) + 2) + part
    return data[:2] + segments + data[2:]


def png(iim: bytes, key: str = "Raw profile type iptc") -> bytes:
    body, info, file = blocks(iim), PngInfo(), io.BytesIO()
    info.add_text(key, f"\niptc\n{len(body):8}\n{body.hex()}\n", zip=True)
    Image.fromarray(picture(2, 64)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def tiff(iim: bytes) -> bytes:
    tags, file = ImageFileDirectory_v2(), io.BytesIO()
    tags[33723] = iim
    tags.tagtype[33723] = 7
    Image.fromarray(picture(2, 64)).save(file, "TIFF", tiffinfo=tags)
    return file.getvalue()


SAYS = {
    "Made with Google AI": ("ai-generated", "Google AI"),
    "Edited with Google AI": ("ai-edited", "Google AI"),
    "Imagined with AI": ("ai-generated", "Meta AI"),
    "AI-generated image": ("ai-generated", None),
}


@pytest.mark.parametrize("make", [jpeg, png, tiff])
@pytest.mark.parametrize("credit", SAYS)
def test_a_credit_line_is_a_claim(
    ask: Callable[..., Verdict], make: Callable[[bytes], bytes], credit: str
) -> None:
    verdict = ask(make(datasets(title="Owl", credit=credit)))
    assert (verdict.verdict, verdict.confidence) == (SAYS[credit][0], "claimed")
    assert verdict.generator == SAYS[credit][1]
    assert [item.kind for item in verdict.evidence] == ["metadata:iptc"]
    assert credit in verdict.evidence[0].detail


@pytest.mark.parametrize(
    "texts",
    [
        {"credit": "Flux Photography"},
        {"byline": "Ada Imagen", "credit": "Reuters", "source": "Agency", "program": "Photo Mechanic"},
        {"credit": "Tomade with google airlines"},
        {"credit": "Ada Byron, not AI-generated"},
        {"credit": "Never made with AI"},
        {"caption": "A picture made with AI in mind"},
    ],
)
def test_people_and_agencies_are_no_generators(ask: Callable[..., Verdict], texts: dict[str, str]) -> None:
    assert ask(jpeg(datasets(**texts))).verdict == "no-evidence"


def test_programs_and_unmistakable_names_are_read(ask: Callable[..., Verdict]) -> None:
    told = ask(jpeg(datasets(program="ComfyUI", program_version="0.3")))
    assert (told.verdict, told.generator) == ("ai-generated", "ComfyUI 0.3")
    told = ask(jpeg(datasets(source="Midjourney")))
    assert (told.verdict, told.confidence) == ("ai-generated", "claimed")


def test_captions_hold_the_parameters_of_other_programs(ask: Callable[..., Verdict]) -> None:
    job = "a fox --v 6 Job ID: 0f8fad5b-d9cb-469f-a165-70867728950e"
    assert ask(jpeg(datasets(caption=job))).generator == "Midjourney 6"
    parameters = "a duck\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 7, Size: 64x64"
    verdict = ask(jpeg(datasets(caption=parameters)))
    assert verdict.recipe is not None
    assert verdict.recipe["seed"] == 7


def test_the_same_credit_in_xmp_counts(ask: Callable[..., Verdict]) -> None:
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
        'photoshop:Credit="Made with Google AI"/></rdf:RDF></x:xmpmeta>'
    )
    file = io.BytesIO()
    Image.fromarray(picture(2, 64)).save(file, "JPEG", xmp=packet.encode())
    assert ask(file.getvalue()).generator == "Google AI"


def test_blocks_cut_over_segments_and_extended_lengths_are_read() -> None:
    long = dataset(2, 120, b"x" * 3000, extended=True) + dataset(2, 110, "Café".encode("latin-1"))
    found = read_source(jpeg(long, cut=500), "image/jpeg").iptc
    assert found == {"caption": "x" * 3000, "credit": "Café"}
    assert read_source(png(long, "Raw profile type 8bim"), "image/png").iptc == found


def test_lying_lengths_and_floods_are_cut_off() -> None:
    assert parse_iim(dataset(2, 110, b"a") + bytes((0x1C, 2, 110, 0x7F, 0xFF)) + b"b") == {"credit": "a"}
    assert parse_iim(bytes((0x1C, 2, 110, 0xFF, 0xFF))) == {}
    assert iim_of_resources(b"8BIM\x04\x04\0\0\xff\xff\xff\xff") == b""
    flood = parse_iim(dataset(2, 25, b"k") * (3 * MAX_DATASETS))
    assert flood["keywords"].count("k") == MAX_DATASETS
    assert iim_of_resources(resource(1, b"") * 100_000) == b""


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data: bytes) -> None:
    parse_iim(data)
    parse_iim(b"\x1c" + data)
    iim_of_resources(data)
    iim_of_resources(b"8BIM" + data)
    read_source(jpeg(b"")[:2] + b"\xff\xed" + data, "image/jpeg")


@given(st.dictionaries(st.sampled_from(sorted(NUMBERS)), st.text(max_size=60).map(lambda t: t.strip("\0 "))))
def test_what_is_written_is_read(texts: dict[str, str]) -> None:
    found = parse_iim(iim_of_resources(blocks(datasets(**texts))))
    assert found == {name: text for name, text in texts.items() if text}
