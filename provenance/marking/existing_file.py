"""Marking images that other programs made: watermark and credential, with the original as the parent.

The file keeps its format, its metadata, colour profile and transparency; its pixels change by the watermark
alone (JPEG and lossy WebP are encoded anew).
"""

from __future__ import annotations

import hashlib
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin
from PIL.PngImagePlugin import PngInfo

from nonesuch.formats.iim import PHOTOSHOP
from nonesuch.formats.raw_fields import Source, read_source
from nonesuch.foundation.errors import InputError, ProvenanceError
from nonesuch.foundation.images import open_image, read_limited
from nonesuch.provenance import vocabulary
from nonesuch.provenance.credentials.reading import check_parent, sniff_mime
from nonesuch.provenance.marking import encoding, manifest
from nonesuch.provenance.marking.xmp import XmpFields, xmp_packet
from nonesuch.provenance.request import ImageFormat, MarkedFile, MarkSeconds, TrainingUse
from nonesuch.provenance.signing.signer import Ingredient, Signer
from nonesuch.provenance.watermark.payloads import without_origin

_FORMATS: dict[str, ImageFormat] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
_LONGEST_COMMENT = 0xFFFF - 2  # bytes of a JPEG's segment
_BITS_PER_SAMPLE = 258  # TIFF tag
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits per channel
_METADATA = "c2pa.metadata"


def mark_file(
    path: Path,
    signer: Signer,
    *,
    payload: int | None = None,
    source_type: str | None = None,
    format: ImageFormat | None = None,
    quality: int | None = None,
    strength: float = 1.0,
    watermark: str = "nonesuch",
    watermark_key: bytes | None = None,
    training_use: TrainingUse = "notAllowed",
) -> MarkedFile:
    """The image at `path` with a watermark and a credential.

    An image that has a credential keeps it as the parent ingredient, also a broken one, which
    `MarkedFile.parents` then says. `payload` (64 bits) defaults to the first bits of the file's SHA-256; of an
    image without a statement that a model made it, its last 20 bits become a digest, see nonesuch.provenance.watermark.payloads.
    `source_type`, an IPTC name or URI, is the user's statement of an image's origin. `format` defaults to the
    file's own, else PNG. `watermark` is a name of the registry of watermarks; of nonesuch's own, `watermark_key` makes
    a mark that only its holder can read, None uses the public key.
    Raises InputError for files that can't be read or would lose something: animations, 16-bit images.
    """
    data = read_limited(path)
    mime = sniff_mime(data)
    target = format or _FORMATS.get(mime, "png")
    image = _open(data, path)
    check = check_parent(data, mime, "original")
    number = int.from_bytes(hashlib.sha256(data).digest()[:8], "big") if payload is None else payload
    if not check.generated and not (source_type and vocabulary.by_model(source_type)):
        number = without_origin(number)
    started = time.perf_counter()
    marked, algorithm, psnr = _watermarked(image, number, watermark, strength, watermark_key)
    watermarked = time.perf_counter()
    encoded_bytes = _encode(marked, image, read_source(data, mime), target, quality, number, source_type)
    encoded = time.perf_counter()
    actions, assertions, ingredients = _story(check.integrity != "unsigned", data, mime, source_type)
    definition = manifest.assemble(
        f"image {number:016x}",  # not the file's name, which may be a person's
        actions,
        assertions,
        binding=(algorithm, number),
        training_use=training_use,
    )
    signed = signer.sign(encoded_bytes, encoding.MIME[target], definition, ingredients)
    ended = time.perf_counter()
    return MarkedFile(
        data=signed.data,
        mime=encoding.MIME[target],
        suffix=encoding.SUFFIX[target],
        sha256=hashlib.sha256(signed.data).hexdigest(),
        image=np.asarray(marked.convert("RGB")),
        watermark_payload=number,
        watermark_psnr=psnr,
        manifest=signed.manifest,
        manifest_digest=hashlib.sha256(signed.manifest).hexdigest(),
        manifest_id=str(definition["label"]),
        timestamped=signed.timestamped,
        parents=(check,) if ingredients else (),
        seconds=MarkSeconds(watermarked - started, encoded - watermarked, ended - encoded),
    )


def _story(
    has_credential: bool, data: bytes, mime: str, source_type: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[Ingredient]]:
    """Actions, assertions and ingredients: what is known of how the image came about."""
    uri = None if source_type is None else vocabulary.source_type_uri(source_type)
    if uri is not None and not has_credential:
        # No history to keep: the user's word on the origin is where it begins.
        return [{"action": "c2pa.created", "digitalSourceType": uri}], [], []
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [manifest.ingredient_label(0)]}}
    ingredient = Ingredient(manifest.ingredient_definition(0, "original"), mime, data)
    if uri is None:
        return [opened], [], [ingredient]
    # c2pa.opened must not carry a source type, so the user's word goes into the metadata assertion.
    said = {
        "@context": {"Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"},
        "Iptc4xmpExt:DigitalSourceType": uri,
    }
    return [opened], [{"label": _METADATA, "data": said}], [ingredient]


def _open(data: bytes, path: Path) -> Image.Image:
    image = open_image(data, where=str(path))
    # of a phone's MPO, whose further images are a gain map or a depth map, the first is the image
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        what = "has several pages" if image.format == "TIFF" else "is an animation"
        raise InputError(what, where=str(path), hint="Only single still images can be marked.")
    deep = _bits(image, data) > 8
    if image.mode not in _MODES or deep:
        raise InputError(
            "has more than 8 bits per channel" if deep else f"has pixels of kind {image.mode}",
            where=str(path),
            hint="Save it with 8 bits per channel first: marking would lose the rest.",
        )
    try:
        image.load()
    except Exception as error:  # broken pixel data, in whatever form the plugin says so
        raise InputError(f"broken image data ({error})", where=str(path)) from error
    return image


def _with_resources(jpeg: bytes, resources: bytes) -> bytes:
    # Photoshop's blocks, IPTC-IIM among them, in segments behind those that Pillow wrote first
    room = 0xFFFF - 2 - len(PHOTOSHOP)
    segments = b""
    for start in range(0, len(resources), room):
        body = PHOTOSHOP + resources[start : start + room]
        segments += b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body
    at = 2
    while jpeg[at : at + 1] == b"\xff" and 0xE0 <= jpeg[at + 1] <= 0xEF:
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg[:at] + segments + jpeg[at:]


def _bits(image: Image.Image, data: bytes) -> int:
    # a channel; Pillow opens 16-bit RGB as if it had 8
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        return int(max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))))
    return 8


def _watermarked(
    image: Image.Image, payload: int, name: str, strength: float, key: bytes | None
) -> tuple[Image.Image, str, float]:
    from nonesuch.provenance.watermark.chosen import put_watermark

    alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    pixels = np.asarray(image.convert("RGBA" if alpha else "RGB"))
    rgb = np.ascontiguousarray(pixels[..., :3])
    done = put_watermark(rgb, payload, name=name, strength=strength, key=key)
    marked = Image.fromarray(np.dstack([done.image, pixels[..., 3]]) if alpha else done.image)
    return marked, done.algorithm, done.psnr


def _encode(
    marked: Image.Image,
    original: Image.Image,
    source: Source,
    target: ImageFormat,
    quality: int | None,
    payload: int,
    source_type: str | None,
) -> bytes:
    """The marked image in `target`, with the original's profile, EXIF, text and XMP."""
    # An XMP packet that is there already stays as it is: it is part of what the image came with.
    xmp = source.xmp or xmp_packet(
        XmpFields(
            source_type=None if source_type is None else vocabulary.source_type_uri(source_type),
            system="",
            system_version="",
            prompt=None,
            prompt_writer=None,
            title=None,
            identifier=f"urn:nonesuch:image:{payload:016x}",
            creator_tool="",
            created=None,
        )
    )
    options: dict[str, Any] = {}
    profile, exif = original.info.get("icc_profile"), original.info.get("exif")
    if isinstance(profile, bytes) and original.mode not in ("CMYK", "L", "LA"):
        options["icc_profile"] = profile
    if isinstance(exif, bytes):
        options["exif"] = exif
    dpi = original.info.get("dpi", ())
    if target != "webp" and dpi and all(0 < number < 1 << 16 for number in dpi):
        options["dpi"] = dpi
    file = io.BytesIO()
    try:
        if target == "png":
            texts = PngInfo()
            for key, value in source.texts.items():
                texts.add_itxt(key, value)
            texts.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
            marked.save(file, "PNG", pnginfo=texts, compress_level=4, **options)
        elif target == "webp":
            lossless = quality is None and original.format != "JPEG"
            marked.save(file, "WEBP", lossless=lossless, quality=quality or 95, method=2, xmp=xmp, **options)
        else:
            if comment := source.texts.get("comment"):
                options["comment"] = comment.encode()[:_LONGEST_COMMENT]
            if original.format in ("JPEG", "MPO"):
                options["subsampling"] = JpegImagePlugin.get_sampling(original)
            marked.convert("RGB").save(
                file, "JPEG", quality=quality or encoding.DEFAULT_JPEG_QUALITY, xmp=xmp, **options
            )
            return _with_resources(file.getvalue(), source.resources)
    except (OSError, ValueError) as error:
        raise ProvenanceError(f"could not be encoded as {target} ({error})") from error
    return file.getvalue()
