import base64
import gzip
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from provenance_samples import picture

from nonesuch.formats import a1111
from nonesuch.formats.hidden_text import hidden_text
from nonesuch.formats.raw_fields import MAX_FIELD, Source, inflate, read_source
from nonesuch.provenance import metadata
from nonesuch.provenance.credentials.reading import sniff_mime
from nonesuch.provenance.metadata import midjourney, novelai_signature, programs, xmp

A1111 = (
    "a castle, <lora:old:0.8>, by Hokusai\nsecond line\nNegative prompt: blurry, low: quality\nmore\n"
    "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7.5, Seed: 4294967299, Size: 512x768, Model hash: abc123, "
    'Model: sd15, Lora hashes: "old: 12, new: 34", Version: v1.9.4'
)
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": ["9", 0], "steps": 25, "cfg": 6.5, "sampler_name": "euler", "denoise": 1,
        "model": ["4", 0], "positive": ["10", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 448, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    "9": {"class_type": "PrimitiveInt", "inputs": {"value": 99}},
    "10": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["6", 0], "conditioning_2": ["6", 0]}},
}  # fmt: skip
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def png(texts: dict[str, str], *, how: str = "tEXt", pixels: Any = None) -> bytes:
    info = PngInfo()
    for key, value in texts.items():
        if how == "iTXt":
            info.add_itxt(key, value)
        else:
            info.add_text(key, value, zip=how == "zTXt")
    file = io.BytesIO()
    Image.fromarray(picture(size=64) if pixels is None else pixels).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def with_exif(tags: dict[int, Any], comment: bytes | None, format: str) -> bytes:
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    if comment is not None:
        exif.get_ifd(0x8769)[0x9286] = comment
    file = io.BytesIO()
    Image.fromarray(picture(size=64)).save(file, format, exif=exif)
    return file.getvalue()


def findings(data: bytes) -> dict[str, metadata.Finding]:
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    source = read_source(data, sniff_mime(data), lambda: np.asarray(image))
    return {finding.kind: finding for finding in metadata.read_metadata(source)}


@pytest.mark.parametrize("how", ["tEXt", "zTXt", "iTXt"])
def test_automatic1111_in_every_kind_of_png_text(how: str) -> None:
    found = findings(png({"parameters": A1111}, how=how))
    assert list(found) == ["automatic1111"]
    assert found["automatic1111"].generator == "AUTOMATIC1111 v1.9.4"
    assert found["automatic1111"].recipe == {
        "prompt": "a castle, <lora:old:0.8>, by Hokusai\nsecond line",
        "negative_prompt": "blurry, low: quality\nmore",
        "seed": 4294967299, "steps": 20, "guidance_scale": 7.5, "scheduler": "DPM++ 2M",
        "width": 512, "height": 768, "model": "sd15", "model_hash": "abc123",
        "loras": [{"name": "old", "weight": 0.8}],
        "other": {"Lora hashes": "old: 12, new: 34", "Version": "v1.9.4"},
    }  # fmt: skip


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
def test_automatic1111_in_the_exif_comment(format: str, encoding: str) -> None:
    comment = b"UNICODE\0" + A1111.encode(encoding)
    found = findings(with_exif({}, comment, format))
    assert found["automatic1111"].recipe["seed"] == 4294967299


@pytest.mark.parametrize(
    "text",
    ["Steps: 20, Seed: 1", "just: a, prompt: with, colons: in it", "", "{}", "Name: x, Place: y, Colour: z"],
)
def test_a_prompt_with_colons_is_no_parameter_line(text: str) -> None:
    assert a1111.parse(text) is None


@pytest.mark.parametrize(
    "text",
    ["a" * 60_000, "a:" * 30_000, " " * 60_000 + "x", 'a: "' * 15_000, "a " * 30_000, "a: \\" * 15_000],
)
@pytest.mark.timeout(60)
def test_hostile_parameter_lines_do_not_make_the_pattern_crawl(text: str) -> None:
    # Unbounded repeats need minutes for these: the time limit is what fails.
    found = a1111.parse("prompt\n" + text)
    assert found is None


def test_comfyui_graph_is_followed_from_the_sampler() -> None:
    found = findings(png({"prompt": json.dumps(GRAPH), "workflow": '{"nodes": [], "links": []}'}))["comfyui"]
    assert (found.says, found.confidence) == ("ai-generated", "claimed")
    assert found.recipe == {
        "prompt": "a fox", "negative_prompt": "blurry", "seed": 99, "steps": 25, "guidance_scale": 6.5,
        "scheduler": "euler", "width": 640, "height": 448, "model": "sd15.safetensors", "other": {"denoise": 1},
    }  # fmt: skip


def test_comfyui_in_webp_and_animated_png() -> None:
    webp = with_exif({0x0110: "prompt:" + json.dumps(GRAPH)}, None, "WEBP")
    assert findings(webp)["comfyui"].recipe["prompt"] == "a fox"
    source = Source("image/png", chunks={"comf": b"prompt\0" + json.dumps(GRAPH).encode()})
    assert programs.ComfyUI().read(source).recipe["seed"] == 99


def test_a_graph_that_draws_nothing_says_nothing() -> None:
    graph = {"1": {"class_type": "LoadImage", "inputs": {}}, "2": {"class_type": "SaveImage", "inputs": {}}}
    assert findings(png({"prompt": json.dumps(graph)}))["comfyui"].says == "nothing"


def test_a_graph_that_bites_its_tail_is_left() -> None:
    loop = {"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "seed": ["3", 0]}},
            "2": {"class_type": "A", "inputs": {"a": ["2", 0], "b": ["1", 0]}},
            "3": {"class_type": "B", "inputs": {"value": ["3", 0]}}}  # fmt: skip
    assert "prompt" not in findings(png({"prompt": json.dumps(loop)}))["comfyui"].recipe


def test_invokeai_in_three_generations() -> None:
    modern = {"positive_prompt": "p", "negative_prompt": "n", "seed": 3, "steps": 4, "cfg_scale": 5,
              "scheduler": "euler", "width": 8, "height": 9, "model": {"name": "m", "hash": "h"},
              "app_version": "4.2", "strength": 0.5}  # fmt: skip
    found = findings(png({"invokeai_metadata": json.dumps(modern)}))["invokeai"]
    assert found.generator == "InvokeAI 4.2"
    assert found.recipe == {
        "prompt": "p", "negative_prompt": "n", "seed": 3, "steps": 4, "guidance_scale": 5, "scheduler": "euler",
        "width": 8, "height": 9, "model": "m", "model_hash": "h", "other": {"strength": 0.5},
    }  # fmt: skip
    older = {
        "image": {"prompt": [{"prompt": "old [bad, ugly]", "weight": 1}], "seed": 6},
        "model_weights": "sd",
    }
    recipe = findings(png({"sd-metadata": json.dumps(older)}))["invokeai"].recipe
    assert recipe == {"prompt": "old", "negative_prompt": "bad, ugly", "seed": 6, "model": "sd"}
    command = '"a -S 7 of \\"clubs [x], old [y]" -s 50 -S 2980747362 -W512 -H 768 -C 7.5 -A k_lms -cf 0.75 -U 4 0.95'
    assert findings(png({"Dream": command}))["invokeai"].recipe == {
        "prompt": 'a -S 7 of \\"clubs, old', "negative_prompt": "x, y", "seed": 2980747362, "steps": 50,
        "guidance_scale": 7.5, "scheduler": "k_lms", "width": 512, "height": 768, "other": {"Dream": command},
    }  # fmt: skip
    bare = findings(png({"Dream": "unquoted words -s 50 -S 42"}))["invokeai"].recipe
    assert (bare["prompt"], bare["steps"], bare["seed"]) == ("unquoted words", 50, 42)


def test_swarmui_and_its_numbers_as_text() -> None:
    given = {"sui_image_params": {"prompt": "s", "seed": "12", "steps": "20", "cfgscale": "7", "images": 2,
                                  "swarm_version": "0.9"}}  # fmt: skip
    found = findings(png({"parameters": json.dumps(given)}))
    assert list(found) == ["swarmui"]
    assert found["swarmui"].recipe["seed"] == 12
    assert found["swarmui"].recipe["guidance_scale"] == 7
    comment = b"ASCII\0\0\0" + json.dumps(given).encode()
    assert findings(with_exif({}, comment, "JPEG"))["swarmui"].generator == "SwarmUI 0.9"


def test_fooocus_in_both_schemes() -> None:
    given = {"prompt": "f", "seed": "5", "steps": 30, "base_model": "jx", "resolution": "(1152, 896)",
             "version": "Fooocus v2.5"}  # fmt: skip
    found = findings(png({"parameters": json.dumps(given), "fooocus_scheme": "fooocus"}))
    assert list(found) == ["fooocus"]
    assert found["fooocus"].recipe["width"] == 1152
    assert found["fooocus"].generator == "Fooocus v2.5"
    assert findings(png({"parameters": A1111, "fooocus_scheme": "a1111"}))["fooocus"].recipe["steps"] == 20


def test_midjourney_description() -> None:
    text = "a lighthouse at dusk --ar 3:2 --v 6.1 Job ID: 01234567-89ab-cdef-0123-456789abcdef"
    found = findings(png({"Description": text, "Author": "someone"}))["midjourney"]
    assert found.generator == "Midjourney 6.1"
    assert found.recipe["prompt"] == "a lighthouse at dusk"
    assert found.recipe["other"]["job_id"] == "01234567-89ab-cdef-0123-456789abcdef"
    assert midjourney.Midjourney().read(Source("image/png", {"Description": "a lighthouse"})) is None


def signed_novelai(key: Ed25519PrivateKey, pixels: np.ndarray) -> dict[str, str]:
    comment = {"prompt": "é", "uc": "bad", "steps": 28, "scale": 5.0, "seed": 1, "sampler": "k_euler"}
    message = np.ascontiguousarray(pixels[..., :3]).tobytes() + json.dumps(comment).encode()
    comment["signed_hash"] = base64.b64encode(key.sign(message)).decode()
    return {"Software": "NovelAI", "Source": "NovelAI Diffusion V4", "Comment": json.dumps(comment)}


def public_key(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def test_a_novelai_signature_is_proof_until_a_pixel_changes() -> None:
    key, pixels = Ed25519PrivateKey.generate(), picture(size=64)
    texts = signed_novelai(key, pixels)
    reader = novelai_signature.NovelAI(public_key(key))
    rgba = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    found = reader.read(Source("image/png", texts, rgba=lambda: rgba))
    assert (found.confidence, found.recipe["prompt"]) == ("proven", "é")
    changed = rgba.copy()
    changed[0, 0, 0] ^= 1
    assert reader.read(Source("image/png", texts, rgba=lambda: changed)).confidence == "claimed"
    forged = {**texts, "Comment": texts["Comment"].replace('"seed": 1', '"seed": 2')}
    assert reader.read(Source("image/png", forged, rgba=lambda: rgba)).confidence == "claimed"
    assert findings(png(texts, pixels=pixels))["novelai"].confidence == "claimed"  # not NovelAI's own key


def hide(pixels: np.ndarray, magic: bytes, text: bytes) -> np.ndarray:
    """Write stealth pnginfo into RGBA pixels, columns first, as the web UI's extension does."""
    body = gzip.compress(text) if magic.endswith(b"comp") else text
    bits = np.unpackbits(np.frombuffer(magic + struct.pack(">I", len(body) * 8) + body, np.uint8))
    out = pixels.copy()
    channels = slice(3, 4) if b"png" in magic else slice(0, 3)
    columns = out[..., channels].swapaxes(0, 1).copy()
    flat = columns.reshape(-1)
    flat[: bits.size] = flat[: bits.size] & 254 | bits
    out[..., channels] = columns.swapaxes(0, 1)
    return out


@pytest.mark.parametrize(
    "magic", [b"stealth_pnginfo", b"stealth_pngcomp", b"stealth_rgbinfo", b"stealth_rgbcomp"]
)
def test_stealth_pnginfo_in_alpha_and_rgb(magic: bytes) -> None:
    base = np.dstack([picture(size=64), np.full((64, 64), 255, np.uint8)])
    found = findings(png({}, pixels=hide(base, magic, A1111.encode())))
    assert list(found) == ["stealth-pnginfo"]
    assert found["stealth-pnginfo"].recipe["steps"] == 20
    assert found["stealth-pnginfo"].generator == "AUTOMATIC1111 v1.9.4"


def test_stealth_pnginfo_carries_a_novelai_signature() -> None:
    key = Ed25519PrivateKey.generate()
    base = np.dstack([picture(size=64), np.full((64, 64), 255, np.uint8)])
    texts = signed_novelai(key, base)
    hidden = hide(base, b"stealth_pngcomp", json.dumps(texts).encode())
    source = Source("image/png", rgba=lambda: hidden)
    assert programs.StealthPnginfo(public_key(key)).read(source).confidence == "proven"
    assert programs.StealthPnginfo().read(source).confidence == "claimed"


def test_stealth_lengths_that_lie_and_gzip_bombs_find_nothing() -> None:
    base = np.dstack([picture(size=512), np.full((512, 512), 255, np.uint8)])
    lying = hide(base, b"stealth_pnginfo", b"x" * 100)
    flat = lying[..., 3].T.copy().reshape(-1)
    flat[120:152] = (flat[120:152] & 254) | 1  # a length of 2**32 - 1 bits
    lying[..., 3] = flat.reshape(512, 512).T
    bomb = hide(base, b"stealth_pngcomp", b"\0" * (MAX_FIELD + 1))
    for pixels in (lying, bomb):
        assert "stealth-pnginfo" not in findings(png({}, pixels=pixels))
        with pytest.raises(ValueError, match=r"longer|more than"):
            hidden_text(pixels)


@given(st.binary(min_size=1, max_size=300), st.integers(16, 40))
def test_what_is_hidden_is_read_back(text: bytes, side: int) -> None:
    text = text.hex().encode()
    base = np.full((side * 4, side * 4, 4), 200, np.uint8)
    for magic in (b"stealth_pnginfo", b"stealth_rgbcomp"):
        room = base[..., 0].size * (1 if b"png" in magic else 3)
        if room > (len(text) + 40) * 8:
            assert hidden_text(hide(base, magic, text)) == text.decode()


def test_exif_names_cameras_and_generators() -> None:
    camera = findings(with_exif({0x010F: "Panasonic", 0x0110: "DMC-ZS60"}, None, "JPEG"))["exif"]
    assert (camera.says, camera.confidence) == ("captured", "claimed")
    software = findings(with_exif({0x0131: "Adobe Firefly 3"}, None, "JPEG"))["exif"]
    assert software.says == "ai-generated"
    assert findings(with_exif({0x0131: "Fluxus Viewer, Imagenary"}, None, "JPEG")) == {}


def packet(body: str) -> bytes:
    return (
        '<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f"<rdf:Description {body}</rdf:RDF></x:xmpmeta>"
    ).encode()


@pytest.mark.parametrize(
    "body",
    [
        f'Iptc4xmpExt:DigitalSourceType="{GENERATED}"/>',
        f"><Iptc4xmpExt:DigitalSourceType>{GENERATED}</Iptc4xmpExt:DigitalSourceType></rdf:Description>",
        f'><Iptc4xmpExt:DigitalSourceType rdf:resource="{GENERATED}"/></rdf:Description>',
        f">{GENERATED}</Iptc4xmpExt:DigitalSourceType broken",
    ],
)
def test_xmp_digital_source_type_in_every_form(body: str) -> None:
    data = packet(body)
    if "broken" in body:
        data = data.replace(b">http", b"><Iptc4xmpExt:DigitalSourceType>http")
    found = xmp.Xmp().read(Source("image/jpeg", xmp=data))
    assert found.says == "ai-generated"
    assert found.source_types == (GENERATED,)


def test_xmp_in_avif_png_and_jpeg() -> None:
    data = packet(f'Iptc4xmpExt:DigitalSourceType="{GENERATED}"/>')
    for format in ("AVIF", "JPEG", "WEBP"):
        file = io.BytesIO()
        Image.fromarray(picture(size=64)).save(file, format, xmp=data)
        assert "xmp" in findings(file.getvalue()), format
    assert "xmp" in findings(png({"XML:com.adobe.xmp": data.decode()}, how="iTXt"))


def test_xmp_with_entities_is_not_expanded() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY x "y">]>' + packet('Iptc4xmpExt:AISystemUsed="&x;"/>')
    assert xmp.xmp_values(bomb) == {}


def test_text_chunks_that_unpack_to_too_much_are_left_out() -> None:
    bomb = zlib.compress(b"\0" * (MAX_FIELD + 1))
    with pytest.raises(ValueError, match="more than"):
        inflate(bomb)
    body = b"zTXtparameters\0\0" + bomb
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    data = png({"other": "kept"})
    source = read_source(data[:33] + chunk + data[33:], "image/png")
    assert source.texts == {"other": "kept"}
    assert "'parameters' was left out: it has more than" in (source.error or "")
    assert read_source(data, "image/png").error is None


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from(["image/png", "image/jpeg", "image/webp", "image/avif", "x"]))
def test_any_bytes_have_readable_metadata(data: bytes, mime: str) -> None:
    heads = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8", "image/webp": b"RIFF\0\0\0\0WEBP"}
    source = read_source(heads.get(mime, b"") + data, mime)
    assert list(metadata.read_metadata(source)) == [] or source.texts or source.exif or source.xmp


@settings(max_examples=300)
@given(st.dictionaries(
    st.sampled_from(["parameters", "prompt", "workflow", "Comment", "Software", "Description", "sd-metadata",
                     "invokeai_metadata", "fooocus_scheme", "Dream", "Source"]),
    st.one_of(st.text(max_size=80), st.recursive(
        st.none() | st.integers() | st.text(max_size=9) | st.floats(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["class_type", "inputs", "image", "model", "prompt", "1", "sui_image_params"]), inner),
        max_leaves=12).map(json.dumps)),
))  # fmt: skip
def test_any_text_fields_give_findings_of_plain_data(texts: dict[str, str]) -> None:
    for finding in metadata.read_metadata(Source("image/png", texts)):
        assert finding.says in ("ai-generated", "nothing")
        json.dumps(finding.recipe)
