"""Marking one image: watermark, XMP, encoding, credential; everything from the array in memory.

Heavy parts (cv2, c2pa, the watermark's scipy) are imported at the first use.
"""

from __future__ import annotations

import hashlib
import time

import numpy as np

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import RGB, read_limited
from nonesuch.provenance import vocabulary
from nonesuch.provenance.marking import encoding, manifest
from nonesuch.provenance.marking.xmp import XmpFields, xmp_packet
from nonesuch.provenance.request import MarkedFile, MarkRequest, MarkSeconds, ParentCheck
from nonesuch.provenance.signing.signer import Ingredient, Signer

__all__ = ["MarkRequest", "MarkSeconds", "MarkedFile", "ParentCheck", "mark_image"]


def mark_image(image: RGB, request: MarkRequest, signer: Signer | None = None) -> MarkedFile:
    """The image (uint8 [H, W, 3]) as a finished file with the marks that `request` asks for.

    `signer` may be None only when `request.credentials` is False. Safe to call from many threads with one
    signer. Raises InputError for a bad request or image, ProvenanceError when signing fails.
    """
    _check(image, request, signer)
    started = time.perf_counter()
    marked, binding, psnr = _watermark(image, request)
    watermarked = time.perf_counter()
    data = encoding.encode_image(
        marked, request.format, quality=request.quality, xmp=xmp_packet(_xmp_fields(request))
    )
    encoded = time.perf_counter()
    store, manifest_id, timestamped = None, None, False
    checks: tuple[ParentCheck, ...] = ()
    if request.credentials and signer is not None:
        ingredients, checks = _ingredients(request)
        parents = len(ingredients)
        guides, guide_checks = _guides(request)
        ingredients, checks = [*ingredients, *guides], (*checks, *guide_checks)
        definition = manifest.build_manifest(request, soft_binding=binding, parents=parents)
        signed = signer.sign(data, encoding.MIME[request.format], definition, ingredients)
        data, store, timestamped = signed.data, signed.manifest, signed.timestamped
        manifest_id = str(definition["label"])
    ended = time.perf_counter()
    return MarkedFile(
        data=data,
        mime=encoding.MIME[request.format],
        suffix=encoding.SUFFIX[request.format],
        sha256=hashlib.sha256(data).hexdigest(),
        image=marked,
        watermark_payload=None if binding is None else request.watermark_payload,
        watermark_psnr=psnr,
        manifest=store,
        manifest_digest=None if store is None else hashlib.sha256(store).hexdigest(),
        manifest_id=manifest_id,
        timestamped=timestamped,
        parents=checks,
        seconds=MarkSeconds(watermarked - started, encoded - watermarked, ended - encoded),
    )


def _check(image: RGB, request: MarkRequest, signer: Signer | None) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"an image must be uint8 [H, W, 3], not {image.dtype} {list(image.shape)}")
    if not 0 <= request.watermark_payload < 1 << 64:
        raise InputError(f"the watermark payload {request.watermark_payload} does not fit 64 bits")
    if request.credentials and signer is None:
        raise InputError(
            "credentials need a signer", hint="Open one with nonesuch.provenance.signing.signer.open_signer."
        )
    if request.parents and not request.credentials:
        raise InputError("parents are kept in the credential", hint="Turn credentials on.")


def _watermark(image: RGB, request: MarkRequest) -> tuple[RGB, str | None, float | None]:
    if request.watermark is None:
        return image, None, None
    from nonesuch.provenance.watermark.chosen import put_watermark

    marked = put_watermark(
        image,
        request.watermark_payload,
        name=request.watermark,
        strength=request.strength,
        key=request.watermark_key,
    )
    return marked.image, marked.algorithm, marked.psnr


def _xmp_fields(request: MarkRequest) -> XmpFields:
    prompt = request.recipe.get("prompt")
    uri = vocabulary.source_type_uri(request.source_type)
    by_ai = vocabulary.origin_of(uri) in ("generated", "partly-generated")
    return XmpFields(
        source_type=uri,
        system=manifest.file_name(request.generator) if by_ai else "",
        system_version=request.generator_version if by_ai else "",
        prompt=prompt if by_ai and request.include_prompt and isinstance(prompt, str) else None,
        prompt_writer=request.prompt_writer,
        title=None,
        identifier=f"urn:nonesuch:image:{request.watermark_payload:016x}",
        creator_tool=f"nonesuch {manifest.own_version()}",
        created=request.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _ingredients(request: MarkRequest) -> tuple[list[Ingredient], tuple[ParentCheck, ...]]:
    if not request.parents:
        return [], ()
    from nonesuch.provenance.credentials.reading import check_parent, sniff_mime

    ingredients, checks = [], []
    for index, parent in enumerate(request.parents):
        data = parent if isinstance(parent, bytes) else read_limited(parent)
        # A parent's file name may hold personal data, so only its role is written down.
        title = "input image" if index == 0 else f"component {index}"
        mime = sniff_mime(data)
        checks.append(check_parent(data, mime, title))
        ingredients.append(Ingredient(manifest.ingredient_definition(index, title), mime, data))
    return ingredients, tuple(checks)


def _guides(request: MarkRequest) -> tuple[list[Ingredient], tuple[ParentCheck, ...]]:
    if not request.inputs:
        return [], ()
    from nonesuch.provenance.credentials.reading import check_parent, sniff_mime

    ingredients, checks = [], []
    for index, path in enumerate(request.inputs):
        data = read_limited(path)
        definition = manifest.input_definition(index)
        mime = sniff_mime(data)
        checks.append(check_parent(data, mime, definition["title"]))
        ingredients.append(Ingredient(definition, mime, data))
    return ingredients, tuple(checks)
