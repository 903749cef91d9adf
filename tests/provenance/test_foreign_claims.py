"""What is, and what only looks like, another generator's metadata: whole files through the whole verdict."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from provenance_samples import picture
from test_metadata import A1111, GENERATED, GRAPH, png, with_exif

from provenance.verdict import Verdict
from provenance.xmp import XmpFields, xmp_packet

JOB = "Job ID: 01234567-89ab-cdef-0123-456789abcdef"
IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CAMERA: dict[int, Any] = {
    0x010F: "Canon",
    0x0110: "EOS R5",
    0x0131: "Adobe Lightroom 13.1",
    0x010E: "A beach",
}
SWARM = json.dumps(
    {"sui_image_params": {"prompt": "a fox", "seed": "7", "steps": "20", "swarm_version": "0.9.4"}}
)
FOOOCUS = json.dumps(
    {"base_model": "juggernaut", "prompt": "a fox", "seed": "7", "version": "Fooocus v2.5.0"}
)


def comment(text: str) -> bytes:
    return b"UNICODE\0" + text.encode("utf-16-be")


def xmp(source_type: str | None, system: str = "") -> bytes:
    return xmp_packet(
        XmpFields(
            source_type=source_type, system=system, system_version="", prompt=None, prompt_writer=None,
            title="A talk about Stable Diffusion", identifier=None, creator_tool="Adobe Lightroom", created=None,
        )
    )  # fmt: skip


def with_xmp(packet: bytes, format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(picture(size=64))
    if format == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        image.save(file, "PNG", pnginfo=info)
    else:
        image.save(file, format, xmp=packet)
    return file.getvalue()


def jpeg_comment(text: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(size=64)).save(file, "JPEG", comment=text.encode())
    return file.getvalue()


GENERATED_FILES: dict[str, tuple[bytes, str]] = {
    "a1111 png": (png({"parameters": A1111}), "automatic1111"),
    "a1111 with three pairs": (png({"parameters": "Steps: 20, Sampler: Euler a, CFG scale: 7"}), "automatic1111"),
    "a1111 without a prompt": (png({"parameters": A1111.splitlines()[-1]}), "automatic1111"),
    **{f"a1111 {f}": (with_exif(CAMERA, comment(A1111), f), "automatic1111") for f in ("JPEG", "WEBP", "AVIF")},
    "a1111 ascii": (with_exif({}, b"ASCII\0\0\0" + A1111.encode(), "JPEG"), "automatic1111"),
    "a1111 jpeg comment": (jpeg_comment(A1111), "automatic1111"),
    "comfyui": (png({"prompt": json.dumps(GRAPH)}), "comfyui"),
    "comfyui webp": (with_exif({0x0110: "prompt:" + json.dumps(GRAPH)}, None, "WEBP"), "comfyui"),
    "invokeai": (png({"invokeai_metadata": json.dumps({"positive_prompt": "a fox", "seed": 1})}), "invokeai"),
    "invokeai dream": (png({"Dream": '"a fox" -s 50 -S 1234 -W 512 -H 512 -C 7.5 -A k_lms'}), "invokeai"),
    "novelai": (png({"Software": "NovelAI", "Comment": '{"prompt": "a fox"}'}), "novelai"),
    "novelai source": (png({"Source": "NovelAI Diffusion V4 4F49EC75", "Comment": "{}"}), "novelai"),
    "swarmui": (png({"parameters": SWARM}), "swarmui"),
    "swarmui jpeg": (with_exif({}, comment(SWARM), "JPEG"), "swarmui"),
    "fooocus": (png({"parameters": FOOOCUS, "fooocus_scheme": "fooocus"}), "fooocus"),
    "fooocus a1111": (png({"parameters": A1111, "fooocus_scheme": "a1111"}), "fooocus"),
    "fooocus webp": (with_exif({}, comment(FOOOCUS), "WEBP"), "fooocus"),
    "midjourney": (png({"Description": f"a fox --v 6.1 {JOB}"}), "midjourney"),
    "midjourney without flags": (png({"Description": f"a fox {JOB}", "Author": "somebody"}), "midjourney"),
    "midjourney exif": (with_exif({0x010E: f"a fox --ar 3:2 {JOB}"}, None, "JPEG"), "midjourney"),
    **{f"xmp {f}": (with_xmp(xmp(GENERATED), f), "xmp") for f in ("JPEG", "PNG", "WEBP", "AVIF")},
    "xmp system": (with_xmp(xmp(None, "Imagen 4")), "xmp"),
    "exif software": (with_exif({0x0131: "Midjourney 6"}, None, "JPEG"), "exif"),
    "exif flux": (with_exif({0x0131: "FLUX.1 [dev]"}, None, "JPEG"), "exif"),
}  # fmt: skip

ORDINARY_FILES: dict[str, bytes] = {
    "camera jpeg": with_exif(CAMERA, comment("taken at noon"), "JPEG"),
    "camera webp": with_exif(CAMERA, None, "WEBP"),
    "camera avif": with_exif(CAMERA, None, "AVIF"),
    "description": with_exif({0x010E: "Slide 3: how Stable Diffusion and Midjourney work"}, None, "JPEG"),
    "png description": png({"Description": "A talk on Stable Diffusion", "Title": "NovelAI and ComfyUI, compared"}),
    "png comment": png({"Comment": "made for a paper on Stable Diffusion", "Software": "GIMP 2.10"}),
    "png source": png({"Source": "NovelAI's press office", "Software": "gnome-screenshot"}),
    "jpeg comment": jpeg_comment("CREATOR: gd-jpeg v1.0, quality = 90"),
    "camera settings": jpeg_comment("Model: EOS R5, Size: 6000x4000, Lens: 50mm, Version: 1.2, ISO: 100"),
    "parameters of a fractal": png({"parameters": "Steps: 100, Seed: 42, Size: 10x10, Version: 3"}),
    "parameters of a microscope": png({"parameters": "Gain: 3, Exposure: 10 ms, Model: X100, Size: 512x512"}),
    "parameters as json": png({"parameters": '{"alpha": 0.5, "steps": 10, "seed": 3}'}),
    "parameters as prose": png({"parameters": "Prompt: please, Size: large, Seed: none"}),
    "user comment": with_exif({}, comment("Model: Anna, Size: M, Version: final"), "JPEG"),
    "a dream": png({"Dream": "I had one last night"}),
    "a print job": with_exif({0x010E: f"Order 12, {JOB}"}, None, "JPEG"),
    "another program's workflow": png({"workflow": '{"nodes": [{"type": "http in"}], "links": []}'}),
    "another program's prompt": png({"prompt": '{"question": "name?"}'}),
    "a viewer's name": with_exif({0x0131: "Visor de imagen 2"}, None, "JPEG"),
    "a light meter's name": with_exif({0x0131: "Flux lightroom"}, None, "JPEG"),
    "xmp of a photograph": with_xmp(xmp(IPTC + "digitalCapture")),
    "xmp of an edited photograph": with_xmp(xmp(IPTC + "humanEdits")),
    "xmp with a title": with_xmp(xmp(None)),
    "xmp of an unknown type": with_xmp(xmp(IPTC + "nonsense")),
}  # fmt: skip


@pytest.mark.parametrize("name", GENERATED_FILES)
def test_a_generators_metadata_is_a_claim(name: str, ask: Callable[..., Verdict]) -> None:
    data, kind = GENERATED_FILES[name]
    verdict = ask(data)
    assert (verdict.verdict, verdict.confidence, verdict.integrity) == ("ai-generated", "claimed", "unsigned")
    assert f"metadata:{kind}" in [found.kind for found in verdict.evidence if found.says == "ai-generated"]
    assert verdict.error is None


@pytest.mark.parametrize("name", ORDINARY_FILES)
def test_an_ordinary_file_is_no_evidence(name: str, ask: Callable[..., Verdict]) -> None:
    verdict = ask(ORDINARY_FILES[name])
    assert (verdict.verdict, verdict.confidence, verdict.generator) == ("no-evidence", "none", None)
    assert verdict.error is None


def test_composites_are_edited(ask: Callable[..., Verdict]) -> None:
    verdict = ask(with_xmp(xmp(IPTC + "compositeWithTrainedAlgorithmicMedia")))
    assert (verdict.verdict, verdict.confidence) == ("ai-edited", "claimed")
