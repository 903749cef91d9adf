"""What `verify` tells of another program's picture, `recipe` draws: every carrier of every program through both."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nonesuch.provenance.verifying.verify import verify_file
from nonesuch.redrawing.refining import resweep_verdict

A1111 = (
    "a red fox <lora:ink:0.8>\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, "
    "CFG scale: 7, Seed: 5, Size: 64x128, Model hash: abc, Model: dream, Denoising strength: 0.4, Clip skip: 2, "
    "Hires upscale: 2, Hires steps: 10, Hires upscaler: Latent, Version: v1.10.1"
)


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def sampler(**changed: Any) -> dict[str, Any]:
    usual = {
        "seed": 5, "steps": 20, "cfg": 7.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0,
        "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
    }  # fmt: skip
    return node("KSampler", **{**usual, **changed})


# the second sampler first, as an editor may number them
GRAPH = {
    "2": sampler(latent_image=["11", 0], denoise=0.4, steps=4),
    "3": sampler(),
    "4": node("CheckpointLoaderSimple", ckpt_name="dream.safetensors"),
    "5": node("EmptyLatentImage", width=64, height=128, batch_size=1),
    "6": node("CLIPTextEncode", text="a red fox", clip=["10", 1]),
    "7": node("CLIPTextEncode", text="blurry", clip=["10", 1]),
    "8": node("VAEDecode", samples=["2", 0], vae=["4", 2]),
    "9": node("SaveImage", images=["8", 0]),
    "10": node("LoraLoader", lora_name="ink.safetensors", strength_model=0.8, strength_clip=0.8, model=["4", 0],
               clip=["4", 1]),
    "11": node("LatentUpscaleBy", samples=["3", 0], scale_by=2.0),
}  # fmt: skip
PIXELS = np.random.default_rng(1).integers(0, 255, (96, 96, 3), dtype=np.uint8)


def saved(format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, format, **options)
    return file.getvalue()


def png(key: str, text: str, how: str = "tEXt") -> bytes:
    info = PngInfo()
    if how == "iTXt":
        info.add_itxt(key, text)
    else:
        info.add_text(key, text, zip=how == "zTXt")
    return saved("PNG", pnginfo=info)


def exif(format: str, tags: dict[int, str], comment: str | None = None) -> bytes:
    told = Image.Exif()
    told.update(tags)
    if comment is not None:
        told.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + comment.encode("utf-16-be")
    return saved(format, exif=told)


def caption(text: str) -> bytes:
    """A JPEG whose IPTC caption is the text."""
    iim = b"\x1c\x02\x78" + struct.pack(">H", len(text)) + text.encode()
    body = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(iim)) + iim
    data = saved("JPEG")
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + data[2:]


def chunk(text: str) -> bytes:
    """An animated PNG as ComfyUI writes it, the graph in a private chunk."""
    data = saved("PNG", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    body = b"comfprompt\0" + text.encode()
    told = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + told + data[33:]


def hidden(magic: bytes, text: str) -> bytes:
    """Stealth pnginfo: bits in the lowest ones of alpha or RGB, columns first."""
    body = gzip.compress(text.encode()) if magic.endswith(b"comp") else text.encode()
    bits = np.unpackbits(np.frombuffer(magic + struct.pack(">I", len(body) * 8) + body, np.uint8))
    pixels = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    which = slice(3, 4) if b"png" in magic else slice(0, 3)
    columns = pixels[..., which].swapaxes(0, 1).copy()
    flat = columns.reshape(-1)
    flat[: bits.size] = flat[: bits.size] & 254 | bits
    pixels[..., which] = columns.swapaxes(0, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


MAGICS = (b"stealth_pnginfo", b"stealth_pngcomp", b"stealth_rgbinfo", b"stealth_rgbcomp")
NODES = json.dumps(GRAPH)
OF_A1111: dict[str, Callable[[], bytes]] = {
    **{f"PNG {how}": lambda how=how: png("parameters", A1111, how) for how in ("tEXt", "zTXt", "iTXt")},
    **{f"{format} comment": lambda format=format: exif(format, {0x0132: "2026:01:02 03:04:05"}, A1111) for format in ("JPEG", "WEBP", "AVIF", "PNG")},
    "JPEG description": lambda: exif("JPEG", {0x010E: A1111}),
    "TIFF description": lambda: saved("TIFF", tiffinfo={0x010E: A1111}),
    "JPEG's own comment": lambda: saved("JPEG", comment=A1111.encode()),
    "IPTC caption": lambda: caption(A1111),
    **{magic.decode(): lambda magic=magic: hidden(magic, A1111) for magic in MAGICS},
}  # fmt: skip
OF_COMFYUI: dict[str, Callable[[], bytes]] = {
    **{f"PNG {how}": lambda how=how: png("prompt", NODES, how) for how in ("tEXt", "zTXt", "iTXt")},
    **{f"{format} model": lambda format=format: exif(format, {0x0110: f"prompt:{NODES}"}) for format in ("WEBP", "JPEG")},
    **{f"{format} make": lambda format=format: exif(format, {0x010F: f"Prompt:{NODES}"}) for format in ("WEBP", "JPEG")},
    "WebP description": lambda: exif("WEBP", {0x010E: f"prompt:{NODES}"}),
    "comment": lambda: exif("WEBP", {}, json.dumps({"prompt": GRAPH, "workflow": {}})),
    "comment with texts": lambda: exif("JPEG", {}, json.dumps({"prompt": NODES})),
    "bare comment": lambda: exif("JPEG", {}, NODES),
    "JPEG's own comment": lambda: saved("JPEG", comment=NODES.encode()),
    "animated PNG": lambda: chunk(NODES),
    "hidden": lambda: hidden(b"stealth_rgbinfo", NODES),
    "hidden with its keyword": lambda: hidden(b"stealth_rgbcomp", json.dumps({"prompt": NODES})),
}  # fmt: skip


def both(data: bytes, path: Path) -> tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]:
    """The recipe that `verify` tells, the sweep that `recipe` writes, and what that says is left out."""
    path.write_bytes(data)
    verdict = verify_file(path, search="aligned")
    recipe, made = resweep_verdict(verdict, path, catalog=None, model=None)
    told = verdict.to_json()["recipe"]
    assert {name: value for name, value in recipe.items() if name != "graph"} == told
    return told, made.data, made.left_out


@pytest.mark.parametrize("carrier", OF_A1111)
def test_parameters_lose_nothing_in_any_carrier(carrier: str, tmp_path: Path) -> None:
    told, made, left_out = both(OF_A1111[carrier](), tmp_path / "picture")
    assert told == {
        "source": "automatic1111", "prompt": "a red fox <lora:ink:0.8>", "negative_prompt": "blurry", "seed": 5,
        "steps": 20, "guidance_scale": 7, "scheduler": "DPM++ 2M", "schedule": "Karras", "width": 64, "height": 128,
        "model": "dream", "model_hash": "abc", "loras": [{"name": "ink", "weight": 0.8}],
        "passes": [{"scale": 2, "upscaler": "Latent", "strength": 0.4, "steps": 10}],
        "other": {"Clip skip": "2", "Version": "v1.10.1"},
    }  # fmt: skip
    settings = made.pop("settings")
    assert made == {
        "name": "picture", "model": "dream", "prompt": "a red fox", "negative": "blurry", "seeds": [5],
    }  # fmt: skip
    assert settings == {
        "width": 64, "height": 128, "steps": 20, "guidance": 7.0, "scheduler": "dpmpp_2m_karras",
        "loras": [{"path": "ink.safetensors", "weight": 0.8}], "options": {"clip_skip": 1},
        "hires": {"scale": 2, "upscaler": "latent", "strength": 0.4, "steps": 10},
    }  # fmt: skip
    # where it comes from, the LoRA's file, the model's hash: nothing is lost
    assert len(left_out) == 3
    assert not any("lost" in line or "Not taken over" in line for line in left_out)


@pytest.mark.parametrize("carrier", OF_COMFYUI)
def test_a_graph_loses_nothing_in_any_carrier(carrier: str, tmp_path: Path) -> None:
    told, made, left_out = both(OF_COMFYUI[carrier](), tmp_path / "picture")
    assert told == {
        "source": "comfyui", "prompt": "a red fox", "negative_prompt": "blurry", "seed": 5, "steps": 20,
        "guidance_scale": 7, "scheduler": "dpmpp_2m", "schedule": "karras", "width": 64, "height": 128,
        "model": "dream.safetensors", "loras": [{"name": "ink.safetensors", "weight": 0.8}],
        "passes": [{
            "scale": 2, "upscaler": "latent", "strength": 0.4, "steps": 4, "seed": 5, "guidance_scale": 7,
            "scheduler": "dpmpp_2m", "schedule": "karras",
        }],
        "other": {"denoise": 1},
    }  # fmt: skip
    settings = made.pop("settings")
    assert made == {
        "name": "picture", "model": "dream.safetensors", "prompt": "a red fox", "negative": "blurry", "seeds": [5],
    }  # fmt: skip
    assert settings == {
        "width": 64, "height": 128, "steps": 20, "guidance": 7.0, "scheduler": "dpmpp_2m_karras",
        "loras": [{"path": "ink.safetensors", "weight": 0.8}],
        "hires": {"scale": 2, "upscaler": "latent", "strength": 0.4, "steps": 10},
    }  # fmt: skip
    assert len(left_out) == 2  # where it comes from, and the LoRA's file
    assert not any("lost" in line for line in left_out)


SAID = {
    "fooocus": json.dumps({"prompt": "a red fox", "seed": "5", "steps": 20, "sampler": "dpmpp_2m", "scheduler": "karras",
                           "base_model": "dream", "loras": [["ink.safetensors", 0.8, "abc"]], "version": "Fooocus v2.5"}),
    "swarmui": json.dumps({"sui_image_params": {"prompt": "a red fox <lora:ink:0.8>", "seed": 5, "steps": 20,
                                                "sampler": "dpmpp_2m", "scheduler": "karras", "model": "dream",
                                                "loras": ["ink"], "loraweights": ["0.8"]}}),
    "invokeai": json.dumps({"positive_prompt": "a red fox", "seed": 5, "steps": 20, "scheduler": "dpmpp_2m_karras",
                            "model": {"name": "dream"}, "loras": [{"model": {"name": "ink"}, "weight": 0.8}]}),
}  # fmt: skip


@pytest.mark.parametrize("program", SAID)
def test_loras_and_schedules_of_other_programs_are_drawn(program: str, tmp_path: Path) -> None:
    key = "invokeai_metadata" if program == "invokeai" else "parameters"
    told, made, left_out = both(png(key, SAID[program]), tmp_path / "picture")
    assert told["source"] == program
    assert [lora["weight"] for lora in told["loras"]] == [0.8]
    assert (made["prompt"], made["seeds"]) == ("a red fox", [5])
    assert made["settings"]["loras"] == [{"path": "ink.safetensors", "weight": 0.8}]
    assert made["settings"]["scheduler"] == "dpmpp_2m_karras"
    assert not any("lost" in line for line in left_out)


def test_fooocus_in_the_words_of_automatic1111_keeps_all_of_them(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", A1111.replace("v1.10.1", "Fooocus v2.5.0"))
    info.add_text("fooocus_scheme", "a1111")
    _, made, _ = both(saved("PNG", pnginfo=info), tmp_path / "picture")
    assert made["settings"]["hires"]["scale"] == 2
    assert made["settings"]["loras"] == [{"path": "ink.safetensors", "weight": 0.8}]
