"""What is, and what only looks like, another generator's metadata: whole files through the whole verdict."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from provenance_samples import picture
from test_metadata import A1111, GENERATED, GRAPH, png, with_exif

from nonesuch.provenance.marking.xmp import XmpFields, xmp_packet
from nonesuch.provenance.verifying.verdict import Verdict

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


def rdf(body: str, attributes: str = "") -> bytes:
    """A packet of one's own spelling."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:I="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f'<rdf:Description rdf:about="" {attributes}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def tiff(tags: dict[int, str]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(size=64)).save(file, "TIFF", tiffinfo=tags)
    return file.getvalue()


TRAINED = IPTC + "trainedAlgorithmicMedia"
BAG = "<I:DigitalSourceType><rdf:Bag>{}</rdf:Bag></I:DigitalSourceType>"
CUSTOM = {  # a sampler in parts, the negative text first
    "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad quality"}},
    "2": {"class_type": "StringConcatenate", "inputs": {"string_a": "a", "string_b": "fox", "delimiter": " "}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": ["2", 0]}},
    "4": {"class_type": "CFGGuider", "inputs": {"positive": ["3", 0], "negative": ["1", 0], "cfg": 4.5}},
    "5": {"class_type": "RandomNoise", "inputs": {"noise_seed": 77}},
    "6": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
    "7": {"class_type": "BasicScheduler", "inputs": {"steps": 28, "denoise": 1.0}},
    "8": {"class_type": "SamplerCustomAdvanced",
          "inputs": {"noise": ["5", 0], "guider": ["4", 0], "sampler": ["6", 0], "sigmas": ["7", 0]}},
}  # fmt: skip
SUBGRAPH = {"nodes": [{"id": 1, "type": "0f3c", "pos": [0, 0]}], "links": [],
            "definitions": {"subgraphs": [{"nodes": [{"type": "KSampler"}]}]}}  # fmt: skip

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
    "a1111 emphasis": (png({"parameters": "{{masterpiece}}, {red|blue} cat\n" + A1111.splitlines()[-1]}), "automatic1111"),
    "a1111 templates": (png({"parameters": A1111 + "\nTemplate: {a|b} fox\nNegative Template: c"}), "automatic1111"),
    "a1111 mislabelled": (with_exif({}, b"UNICODE\0" + A1111.encode(), "JPEG"), "automatic1111"),
    "a1111 description": (with_exif({0x010E: A1111}, None, "JPEG"), "automatic1111"),
    "a1111 tiff": (tiff({270: A1111}), "automatic1111"),
    "comfyui in parts": (png({"prompt": json.dumps(CUSTOM)}), "comfyui"),
    "comfyui service": (png({"prompt": '{"1": {"class_type": "OpenAIGPTImage1", "inputs": {"prompt": "a fox"}}}'}), "comfyui"),
    "comfyui subgraph": (png({"workflow": json.dumps(SUBGRAPH)}), "comfyui"),
    "comfyui comment": (with_exif({}, comment(json.dumps({"prompt": GRAPH})), "WEBP"), "comfyui"),
    "comfyui bare comment": (with_exif({}, comment(json.dumps(GRAPH)), "JPEG"), "comfyui"),
    "invokeai broken first": (png({"invokeai_metadata": "{", "Dream": '"a fox" -s 50 -S 1'}), "invokeai"),
    "tiff software": (tiff({305: "Adobe Firefly 3"}), "exif"),
    "exif maker": (with_exif({0x010F: "OpenAI", 0x0110: "DALL-E 3"}, None, "JPEG"), "exif"),
    "xmp creator tool": (with_xmp(rdf("", 'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Midjourney"')), "exif"),
    "xmp prompt": (with_xmp(rdf("<I:AIPromptInformation>a fox</I:AIPromptInformation>")), "xmp"),
    "xmp bag": (with_xmp(rdf(BAG.format(f"<rdf:li>{IPTC}digitalCapture</rdf:li><rdf:li>{TRAINED}</rdf:li>"))), "xmp"),
    "xmp bag of resources": (with_xmp(rdf(BAG.format(f'<rdf:li rdf:resource="{TRAINED}"/>'))), "xmp"),
    "xmp rdf value": (with_xmp(rdf(f'<I:DigitalSourceType rdf:parseType="Resource"><rdf:value>{TRAINED}</rdf:value>'
                                   "</I:DigitalSourceType>")), "xmp"),
    "xmp short form": (with_xmp(rdf("", 'I:DigitalSourcetype="digsrctype:trainedAlgorithmicMedia"')), "xmp"),
    "xmp after an ingredient": (with_xmp(rdf(f'<xmpMM:Ingredients I:DigitalSourceType="{IPTC}digitalCapture"/>'
                                             f"<I:DigitalSourceType>{TRAINED}</I:DigitalSourceType>")), "xmp"),
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
    "a posterior": png({"parameters": "Corner plot\nSteps: 5000, Sampler: emcee, Seed: 42, Walkers: 64"}),
    "a water sampler": jpeg_comment("Station 4\nSampler: Niskin, Seed: none, Steps: 3, Depth: 40 m"),
    "a sampler in a workflow": png({"workflow": '{"nodes": [{"type": "Random Sampler"}], "links": []}'}),
    "xmp that tells of the field": with_xmp(b"<x>DigitalSourceType = " + TRAINED.encode() + b" means & made by AI</x>"),
    "xmp without a system": with_xmp(rdf("<I:AISystemUsed>none</I:AISystemUsed>")),
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


def test_a_sampler_in_parts_gives_its_recipe(ask: Callable[..., Verdict]) -> None:
    recipe = ask(png({"prompt": json.dumps(CUSTOM)})).recipe
    assert recipe == {
        "source": "comfyui", "prompt": "a fox", "negative_prompt": "bad quality", "seed": 77, "steps": 28,
        "guidance_scale": 4.5, "scheduler": "euler", "other": {"denoise": 1.0},
    }  # fmt: skip


def test_concatenations_that_hold_themselves_end(ask: Callable[..., Verdict]) -> None:
    loop = {"class_type": "StringConcatenate", "inputs": {"string_a": ["1", 0], "string_b": ["1", 0]}}
    graph = {"1": loop, "2": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["1", 0]}}}
    assert ask(png({"prompt": json.dumps(graph)})).verdict == "ai-generated"


def test_what_is_no_json_never_reaches_a_verdict(ask: Callable[..., Verdict]) -> None:
    text = '{"sui_image_params": {"prompt": "fo\\udc00x", "cfg": NaN, "swarm_version": "0.9\\ud800", "z": [Infinity]}}'
    verdict = ask(png({"parameters": text}))
    line = json.dumps(verdict.to_json(), ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(line)["recipe"]["prompt"] == "fo\ufffdx"
    assert verdict.generator == "SwarmUI 0.9\ufffd"


def test_a_tower_of_values_is_cut_and_still_told(ask: Callable[..., Verdict]) -> None:
    tower = '{"sui_image_params": {"prompt": "a fox", "deep": ' + "[" * 900 + "]" * 900 + "}}"
    verdict = ask(png({"parameters": tower}))
    assert (verdict.verdict, verdict.generator) == ("ai-generated", "SwarmUI")
    assert "null" in json.dumps(verdict.to_json()["recipe"])


def test_programs_that_write_a1111s_text_are_named(ask: Callable[..., Verdict]) -> None:
    for end, program in (
        ("Version: Fooocus v2.5.5", "Fooocus v2.5.5"),
        ("App: SD.Next, Version: 12", "SD.Next 12"),
    ):
        assert (
            ask(png({"parameters": f"a fox\nSteps: 20, CFG scale: 7, Seed: 1, {end}"})).generator == program
        )


def test_metadata_behind_many_parts_of_the_picture_is_read_and_a_limit_is_told(
    ask: Callable[..., Verdict],
) -> None:
    whole = png({"parameters": A1111})
    (at,) = (position for position in range(len(whole)) if whole[position + 4 : position + 8] == b"tEXt")
    empty = {kind: (0).to_bytes(4) + kind + zlib.crc32(kind).to_bytes(4) for kind in (b"IDAT", b"juNk")}
    assert ask(whole[:at] + 5_000 * empty[b"IDAT"] + whole[at:]).verdict == "ai-generated"
    told = ask(whole[:at] + 5_000 * empty[b"juNk"] + whole[at:])
    assert told.verdict == "no-evidence"
    assert told.error is not None
    assert "4,096 chunks" in told.error


def test_composites_are_edited(ask: Callable[..., Verdict]) -> None:
    part = with_xmp(rdf(f'<xmpMM:Ingredients I:DigitalSourceType="{TRAINED}"/>'))
    assert ask(part).verdict == "ai-edited"
    camera = f"<I:DigitalSourceType>{IPTC}digitalCapture</I:DigitalSourceType><I:AISystemUsed>Firefly</I:AISystemUsed>"
    assert ask(with_xmp(rdf(camera))).verdict == "ai-edited"
    verdict = ask(with_xmp(xmp(IPTC + "compositeWithTrainedAlgorithmicMedia")))
    assert (verdict.verdict, verdict.confidence) == ("ai-edited", "claimed")
