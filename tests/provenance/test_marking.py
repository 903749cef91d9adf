import io
import json
from collections.abc import Callable

import c2pa
import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from provenance_samples import PAYLOAD, RECIPE, picture, request, schema

from nonesuch.foundation.errors import InputError
from nonesuch.provenance.marking import encoding, manifest, xmp
from nonesuch.provenance.marking.drawn_image import MarkedFile, mark_image
from nonesuch.provenance.metadata.xmp import xmp_values
from nonesuch.provenance.signing.signer import Signer
from nonesuch.provenance.verifying.verdict import Verdict

FORMATS = ("png", "jpeg", "webp")
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


def store(file: MarkedFile) -> dict:
    with c2pa.Reader(file.mime, io.BytesIO(file.data)) as reader:
        return json.loads(reader.json())


def assertions(file: MarkedFile) -> dict:
    parsed = store(file)
    return {a["label"]: a["data"] for a in parsed["manifests"][parsed["active_manifest"]]["assertions"]}


@pytest.mark.parametrize("name", FORMATS)
def test_the_credential_says_what_the_specification_wants(marked: dict[str, MarkedFile], name: str) -> None:
    file = marked[name]
    parsed = store(file)
    active = parsed["manifests"][parsed["active_manifest"]]
    found = assertions(file)
    assert parsed["validation_state"] == "Valid"
    assert parsed["active_manifest"] == file.manifest_id
    assert active["claim_generator_info"][0]["specVersion"] == "2.4"
    actions = found["c2pa.actions.v2"]
    assert actions["allActionsIncluded"] is True
    assert [a["action"] for a in actions["actions"]] == ["c2pa.created", "c2pa.watermarked.bound"]
    assert actions["actions"][0]["digitalSourceType"] == GENERATED
    assert found["c2pa.soft-binding"]["blocks"][0]["value"] == f"{PAYLOAD:016x}"
    assert "cawg.training-mining" in found
    assert "thumbnail" not in active


@pytest.mark.parametrize("name", FORMATS)
def test_the_stored_manifest_is_the_one_in_the_file(marked: dict[str, MarkedFile], name: str) -> None:
    file = marked[name]
    assert file.manifest is not None
    with c2pa.Reader(file.mime, io.BytesIO(file.data), file.manifest) as reader:
        assert reader.get_validation_state() == "Valid"


def test_the_recipe_assertion_keeps_to_its_schema(marked: dict[str, MarkedFile]) -> None:
    found = assertions(marked["png"])["org.nonesuch.recipe"]
    schema("recipe-assertion").validate(found)
    assert found["recipe"] == RECIPE
    with pytest.raises(jsonschema.ValidationError):
        schema("recipe-assertion").validate({**found, "image_id": "xyz"})


def test_prompts_and_folders_stay_out_when_they_shall(signer: Signer) -> None:
    recipe = {**RECIPE, "model": "/home/somebody/models/sd", "facets": [["subject", "fox"]]}
    file = mark_image(picture(), request(recipe=recipe, include_prompt=False, watermark=None), signer)
    for secret in (b"friends", b"somebody", b"blurry", b"AIPromptInformation"):
        assert secret not in file.data
    kept = assertions(file)["org.nonesuch.recipe"]
    assert kept["recipe"] == {"seed": 7, "steps": 20, "width": 256, "model": "sd"}
    assert kept["prompt_included"] is False


@pytest.mark.parametrize("name", FORMATS)
def test_the_xmp_packet_is_where_others_look_for_it(marked: dict[str, MarkedFile], name: str) -> None:
    packet = Image.open(io.BytesIO(marked[name].data)).info["xmp"]
    values = xmp_values(packet)
    assert values["DigitalSourceType"] == GENERATED
    assert values["AISystemUsed"] == "embedded"
    assert values["AISystemVersionUsed"] == "1a2b"
    assert values["AIPromptInformation"] == RECIPE["prompt"]
    assert "AIPromptWriterName" not in values


@settings(max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.one_of(st.none(), st.binary(max_size=99)),
)
def test_png_and_lossless_webp_give_the_same_pixels_back(
    height: int, width: int, seed: int, packet: bytes | None
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for name in ("png", "webp"):
        data = encoding.encode_image(image, name, xmp=packet)  # type: ignore[arg-type]
        decoded = Image.open(io.BytesIO(data))
        assert np.array_equal(np.asarray(decoded.convert("RGB")), image)


def test_the_marked_pixels_are_the_encoded_ones(marked: dict[str, MarkedFile]) -> None:
    file = marked["png"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(file.data))), file.image)
    assert file.watermark_psnr is not None
    assert file.watermark_psnr > 38


@given(st.text(max_size=300))
def test_any_prompt_makes_well_formed_xmp(prompt: str) -> None:
    fields = xmp.XmpFields(None, "m", "", prompt, None, prompt, None, "t", None)
    values = xmp_values(xmp.xmp_packet(fields))
    assert values["AISystemUsed"] == "m"


@pytest.mark.parametrize("text", ["&" * 100_000, "界" * 100_000])
def test_an_endless_prompt_still_fits_a_jpeg(signer: Signer, text: str) -> None:
    file = mark_image(
        picture(size=64), request(recipe={"prompt": text}, format="jpeg", watermark=None), signer
    )
    assert store(file)["validation_state"] == "Valid"


def test_a_parent_becomes_the_ingredient(marked: dict[str, MarkedFile], signer: Signer) -> None:
    child = mark_image(
        picture(1), request(source_type=COMPOSITE, parents=(marked["jpeg"].data, marked["png"].data)), signer
    )
    parsed = store(child)
    active = parsed["manifests"][parsed["active_manifest"]]
    assert [a["action"] for a in assertions(child)["c2pa.actions.v2"]["actions"]] == [
        "c2pa.opened", "c2pa.placed", "c2pa.edited", "c2pa.watermarked.bound",
    ]  # fmt: skip
    assert parsed["validation_state"] == "Valid"
    found = {i["relationship"]: i["active_manifest"] for i in active["ingredients"]}
    assert found == {"parentOf": marked["jpeg"].manifest_id, "componentOf": marked["png"].manifest_id}
    assert [check.integrity for check in child.parents] == ["intact", "intact"]


def test_a_broken_parent_is_said_to_be_broken(
    marked: dict[str, MarkedFile], signer: Signer, ask: Callable[..., Verdict]
) -> None:
    broken = bytearray(marked["png"].data)
    broken[-200] ^= 1
    child = mark_image(picture(1), request(source_type=COMPOSITE, parents=(bytes(broken),)), signer)
    assert child.parents[0].integrity == "altered"
    verdict = ask(child.data)
    assert verdict.integrity == "intact"
    assert any(e.kind == "ingredient" and "no longer matches" in e.detail for e in verdict.evidence)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"watermark_payload": 1 << 64}, "64 bits"),
        ({"format": "tiff"}, "unknown image format"),
        ({"quality": 0, "format": "jpeg"}, "outside 1 to 100"),
        ({"source_type": "photo"}, "digital source type"),
    ],
)
def test_bad_requests_are_refused(signer: Signer, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mark_image(picture(size=64), request(**changes), signer)


def test_pictures_of_another_kind_are_refused(signer: Signer) -> None:
    with pytest.raises(InputError, match="uint8"):
        mark_image(np.zeros((8, 8, 3), np.float32), request(), signer)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="signer"):
        mark_image(picture(size=64), request())


def test_marks_can_be_left_off() -> None:
    file = mark_image(picture(size=64), request(watermark=None, credentials=False))
    assert (file.manifest, file.watermark_payload, file.watermark_psnr) == (None, None, None)
    assert b"c2pa" not in file.data


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/a/b", "b"),
        ("~/m/x/", "x"),
        ("C:\\w\\m", "m"),
        ("org/model", "org/model"),
        ("", ""),
        ("a/b:c", "a/b:c"),
    ],
)
def test_only_absolute_paths_are_cut(text: str, kept: str) -> None:
    assert manifest.file_name(text) == kept
