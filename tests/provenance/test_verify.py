import dataclasses
import io
import itertools
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from provenance_samples import PAYLOAD, RECIPE, picture, request

from nonesuch.foundation.images import RGB, decode_rgb
from nonesuch.provenance.evidence import Evidence, Says
from nonesuch.provenance.marking.drawn_image import MarkedFile, mark_image
from nonesuch.provenance.pixels import Pixels
from nonesuch.provenance.signing.signer import Signer, open_signer
from nonesuch.provenance.verifying.catalog_protocol import CatalogRecord
from nonesuch.provenance.verifying.steps import Step, cut_short
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.provenance.verifying.verify import VerifyOptions, is_settled, verify_file, verify_steps
from nonesuch.provenance.verifying.worker_pool import expand_paths, verify_paths

PARAMETERS = "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x64"
KEYS = {
    "path", "verdict", "confidence", "integrity", "trust", "signed_by", "signed_at", "time", "generator",
    "digital_source_type", "watermark", "catalog", "recipe", "evidence", "trust_list", "error",
}  # fmt: skip


@dataclasses.dataclass
class Shelf:
    """A catalog of a few records; hashes are those of imagehash's kind, by DCT of a 32-pixel reduction."""

    records: list[CatalogRecord]

    def by_watermark(self, payload: int) -> list[CatalogRecord]:
        return [r for r in self.records if r.watermark_id == payload]

    def by_digest(self, sha256: str) -> list[CatalogRecord]:
        return [r for r in self.records if r.file_digest == sha256]

    def by_phash(self, phash: int, distance: int) -> list[tuple[CatalogRecord, int]]:
        away = [(r, (r.phash ^ phash).bit_count()) for r in self.records if r.phash is not None]
        return sorted((pair for pair in away if pair[1] <= distance), key=lambda pair: pair[1])

    def phash(self, image: RGB) -> int:
        small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
        low = cv2.dct(small.astype(np.float32))[:8, :8].ravel()
        return int("".join("1" if value > np.median(low) else "0" for value in low), 2)


class Slow(Shelf):
    """A catalog that takes longer than any file may."""

    def by_digest(self, sha256: str) -> list[CatalogRecord]:
        if sha256 == self.records[0].file_digest:
            time.sleep(600)
        return []


def shelf(file: MarkedFile, where: Path | None = None) -> Shelf:
    record = CatalogRecord(
        "ab" * 32, PAYLOAD, "images/fox.png", file=where, recipe=RECIPE, generator="embedded"
    )
    return Shelf([dataclasses.replace(record, phash=Shelf([]).phash(file.image), file_digest=file.sha256)])


def again(image: RGB, format: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_a_marked_file_is_proven(
    marked: dict[str, MarkedFile], ask: Callable[..., Verdict], name: str
) -> None:
    verdict = ask(marked[name].data)
    said = verdict.to_json()
    assert set(said) == KEYS
    assert json.loads(json.dumps(said)) == said
    assert Verdict.from_json(said) == verdict
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "proven")
    assert (verdict.integrity, verdict.trust, verdict.time) == ("intact", "own", "ok")
    assert verdict.generator == "embedded 1a2b"
    assert verdict.recipe == {"source": "credential", **RECIPE}
    assert said["watermark"]["payload"] == f"{PAYLOAD:016x}"
    assert {e["kind"] for e in said["evidence"]} == {"credential", "metadata:xmp", "watermark"}


def test_a_stripped_file_is_known_by_its_watermark(
    marked: dict[str, MarkedFile], ask: Callable[..., Verdict]
) -> None:
    stripped = again(marked["png"].image, quality=80)
    verdict = ask(stripped)
    assert (verdict.verdict, verdict.confidence, verdict.integrity) == ("ai-generated", "strong", "unsigned")
    found = ask(stripped, catalog=shelf(marked["png"]))
    assert found.catalog is not None
    assert found.catalog["found_by"] == "watermark"
    assert found.recipe == {"source": "catalog", **RECIPE}
    assert (found.verdict, found.confidence) == ("ai-generated", "strong")


def test_a_phones_format_is_read_where_its_extra_is_installed(
    marked: dict[str, MarkedFile], ask: Callable[..., Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + PARAMETERS.encode("utf-16-be")
    plain = again(picture(), "HEIF", exif=exif.tobytes())
    verdict = ask(plain)
    assert (verdict.verdict, verdict.confidence, verdict.error) == ("ai-generated", "claimed", None)
    assert verdict.recipe is not None
    assert verdict.recipe["prompt"] == "a fox"
    stripped = ask(again(marked["png"].image, "HEIF", quality=80))
    assert (stripped.verdict, stripped.confidence) == ("ai-generated", "strong")
    assert ask(plain[: len(plain) // 2]).integrity == "unreadable"
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    without = ask(plain)
    assert (without.verdict, without.integrity) == ("no-evidence", "unreadable")
    assert without.error is not None
    assert "extra heif" in without.error


def test_an_untouched_file_is_found_by_its_digest(
    marked: dict[str, MarkedFile], ask: Callable[..., Verdict]
) -> None:
    found = ask(marked["png"].data, catalog=shelf(marked["png"]))
    assert found.catalog is not None
    assert found.catalog["found_by"] == "digest"


def test_a_file_without_its_mark_is_found_by_its_fingerprint(ask: Callable[..., Verdict]) -> None:
    file = mark_image(picture(), request(watermark=None, credentials=False))
    found = ask(again(file.image, quality=60), catalog=shelf(file))
    assert found.catalog is not None
    assert (found.catalog["found_by"], found.verdict, found.confidence) == (
        "fingerprint", "ai-generated", "strong",
    )  # fmt: skip
    assert ask(again(picture(9)), catalog=shelf(file)).catalog is None


def test_a_mark_copied_onto_another_picture_is_a_conflict(
    tmp_path: Path, marked: dict[str, MarkedFile], signer: Signer, ask: Callable[..., Verdict]
) -> None:
    original = tmp_path / "fox.png"
    original.write_bytes(marked["png"].data)
    lifted = mark_image(picture(8), request(credentials=False)).image  # the same payload in another picture
    for catalog in (shelf(marked["png"]), shelf(marked["png"], original)):
        verdict = ask(again(lifted, "PNG"), catalog=catalog)
        assert verdict.verdict == "conflict"
        assert "another image" in " ".join(e.detail for e in verdict.evidence)


def test_a_deep_crop_of_the_original_is_no_conflict(
    tmp_path: Path, signer: Signer, ask: Callable[..., Verdict]
) -> None:
    file = mark_image(picture(4, 512), request(), signer)
    original = tmp_path / "fox.png"
    original.write_bytes(file.data)
    crop = np.ascontiguousarray(file.image[200:456, 30:400][:, ::-1])
    verdict = ask(again(crop, "PNG"), catalog=shelf(file, original))
    assert verdict.catalog is not None
    assert verdict.catalog["found_by"] == "watermark"
    assert verdict.catalog["phash_distance"] > 16
    assert verdict.verdict == "ai-generated"


def test_a_credential_that_names_another_mark_is_a_conflict(
    signer: Signer, ask: Callable[..., Verdict]
) -> None:
    image = mark_image(picture(), request(credentials=False)).image
    from nonesuch.provenance.marking import encoding, manifest

    definition = manifest.build_manifest(
        request(watermark_payload=5), soft_binding="org.nonesuch.watermark.1", parents=0
    )
    data = signer.sign(encoding.encode_image(image, "png"), "image/png", definition).data
    assert ask(data).verdict == "conflict"


@pytest.mark.parametrize(
    "source_type", ["digitalCapture", "humanEdits", "compositeWithTrainedAlgorithmicMedia"]
)
@pytest.mark.parametrize("binding", [None, "org.nonesuch.watermark.1"])
def test_a_strangers_credential_takes_nothing_from_what_the_mark_says(
    tmp_path: Path,
    marked: dict[str, MarkedFile],
    ask: Callable[..., Verdict],
    source_type: str,
    binding: str | None,
) -> None:
    from nonesuch.provenance.marking import encoding, manifest

    stranger = open_signer(tmp_path)
    definition = manifest.build_manifest(request(source_type=source_type), soft_binding=binding, parents=0)
    data = stranger.sign(encoding.encode_image(marked["png"].image, "png"), "image/png", definition).data
    verdict = ask(data)
    assert (verdict.integrity, verdict.trust) == ("intact", "unlisted")
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "strong")


def test_ones_own_word_that_a_camera_took_it_conflicts_with_a_generated_images_mark(
    marked: dict[str, MarkedFile], signer: Signer, ask: Callable[..., Verdict]
) -> None:
    told = ask(mark_image(picture(), request(source_type="digitalCapture"), signer).data)
    assert told.verdict == "conflict"
    assert "but the credential says that a camera" in " ".join(e.detail for e in told.evidence)
    record = dataclasses.replace(shelf(marked["png"]).records[0], source_type="digitalCapture")
    found = ask(again(marked["png"].image), catalog=Shelf([record]))
    assert found.verdict == "conflict"
    assert "but the catalog's record says" in " ".join(e.detail for e in found.evidence)


def test_the_record_of_a_marks_own_image_says_that_parts_were_generated(
    marked: dict[str, MarkedFile], ask: Callable[..., Verdict]
) -> None:
    (known,) = shelf(marked["png"]).records
    stripped = again(marked["png"].image)
    parts = "compositeWithTrainedAlgorithmicMedia"
    verdict = ask(stripped, catalog=Shelf([dataclasses.replace(known, source_type=parts)]))
    assert (verdict.verdict, verdict.confidence) == ("ai-edited", "strong")
    imported = dataclasses.replace(known, source_type=parts, mark_from="pixels")
    verdict = ask(stripped, catalog=Shelf([imported]))
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "strong")


def test_only_what_says_that_a_model_was_at_work_spares_the_search_for_a_mark() -> None:
    cases: list[tuple[Says, bool]] = [
        ("ai-generated", True),
        ("ai-edited", True),
        ("captured", False),
        ("nothing", False),
    ]
    for says, settles in cases:
        assert is_settled([Evidence("credential", says, "proven", "")]) == settles
    assert not is_settled([Evidence("metadata:xmp", "ai-generated", "claimed", "")])


def test_metadata_of_a_generator_is_a_claim(ask: Callable[..., Verdict]) -> None:
    info = PngInfo()
    info.add_text("parameters", "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x64")
    verdict = ask(again(picture(1, 64), "PNG", pnginfo=info))
    assert (verdict.verdict, verdict.confidence, verdict.integrity) == ("ai-generated", "claimed", "unsigned")
    assert verdict.recipe is not None
    assert verdict.recipe["source"] == "automatic1111"
    assert verdict.recipe["seed"] == 5


def test_an_altered_credential_is_only_a_claim(
    marked: dict[str, MarkedFile], ask: Callable[..., Verdict]
) -> None:
    file = mark_image(picture(), request(watermark=None), open_signer_of(marked))
    data = bytearray(file.data)
    data[-300] ^= 1
    verdict = ask(bytes(data))
    assert (verdict.verdict, verdict.confidence, verdict.integrity) == ("ai-generated", "claimed", "altered")


def open_signer_of(marked: dict[str, MarkedFile]) -> Signer:
    import tempfile

    return open_signer(Path(tempfile.mkdtemp()))


def test_plain_pictures_and_other_files(tmp_path: Path) -> None:
    plain = tmp_path / "plain.jpg"
    plain.write_bytes(again(picture(2)))
    verdict = verify_file(plain, home=tmp_path, search="aligned")
    assert (verdict.verdict, verdict.confidence, verdict.integrity, verdict.error) == (
        "no-evidence", "none", "unsigned", None,
    )  # fmt: skip
    text = tmp_path / "text.png"
    text.write_text("c2pa is only a word here")
    for path in (text, tmp_path / "missing.png", tmp_path):
        verdict = verify_file(path, home=tmp_path)
        assert (verdict.verdict, verdict.integrity) == ("no-evidence", "unreadable")
        assert verdict.error
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(plain.read_bytes()[:900])
    assert verify_file(cut, home=tmp_path).error


def test_transparent_and_grey_pictures_are_read(ask: Callable[..., Verdict]) -> None:
    image = mark_image(picture(), request(credentials=False)).image
    clear = np.dstack([image, np.full(image.shape[:2], 200, np.uint8)])
    assert ask(again(clear, "PNG")).watermark is not None
    grey = again(np.asarray(Image.fromarray(image).convert("L")), "PNG")
    assert ask(grey).watermark is not None
    assert decode_rgb(grey, where="x").shape == image.shape


def folder_of(tmp_path: Path, marked: dict[str, MarkedFile]) -> Path:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for file in marked.values():
        (folder / "deep" / f"fox{file.suffix}").write_bytes(file.data)
    (folder / "plain.JPG").write_bytes(again(picture(2)))
    (folder / "broken.png").write_bytes(marked["png"].data[:500])
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_in_worker_processes(tmp_path: Path, home: Path, marked: dict[str, MarkedFile]) -> None:
    folder = folder_of(tmp_path, marked)
    options = VerifyOptions(home=home, search="aligned")
    verdicts = list(verify_paths([folder, tmp_path / "nowhere.png"], options=options, jobs=2))
    names = [Path(v.path).name for v in verdicts]
    assert names == ["broken.png", "plain.JPG", "fox.jpg", "fox.png", "fox.webp", "nowhere.png"]
    assert [v.confidence for v in verdicts[2:5]] == ["proven"] * 3
    assert verdicts[0].error
    assert verdicts[-1].error == "no such file"
    alone = [verify_file(Path(v.path), home=home, search="aligned") for v in verdicts]
    assert alone == verdicts


@pytest.mark.slow
def test_a_file_that_hangs_costs_one_verdict(tmp_path: Path, marked: dict[str, MarkedFile]) -> None:
    folder = folder_of(tmp_path, marked)
    options = VerifyOptions(home=tmp_path, search="aligned", catalog=Slow(shelf(marked["jpeg"]).records))
    verdicts = {Path(v.path).name: v for v in verify_paths([folder], options=options, jobs=1, seconds=6)}
    assert verdicts["fox.jpg"].error == "took longer than 6 s; the catalog was not searched to the end"
    whole = verify_file(folder / "deep" / "fox.jpg", home=tmp_path, search="aligned")
    assert dataclasses.replace(verdicts["fox.jpg"], error=None) == whole  # what was found until then is kept
    assert verdicts["fox.png"].verdict == "ai-generated"
    assert len(verdicts) == 5


class Fatal(Shelf):
    """A catalog that ends the process, as a fault in native code would."""

    def by_digest(self, sha256: str) -> list[CatalogRecord]:
        import os

        if sha256 == self.records[0].file_digest:
            os._exit(139)
        return []


@pytest.mark.slow
def test_a_file_that_kills_its_worker_costs_one_verdict(
    tmp_path: Path, marked: dict[str, MarkedFile]
) -> None:
    folder = folder_of(tmp_path, marked)
    options = VerifyOptions(home=tmp_path, search="aligned", catalog=Fatal(shelf(marked["jpeg"]).records))
    verdicts = {Path(v.path).name: v for v in verify_paths([folder], options=options, jobs=1)}
    assert "broke the process" in str(verdicts["fox.jpg"].error)
    assert "the catalog was not searched" in str(verdicts["fox.jpg"].error)
    assert sum(v.verdict == "ai-generated" for v in verdicts.values()) == 3


def test_each_step_keeps_what_the_steps_before_it_found(home: Path, marked: dict[str, MarkedFile]) -> None:
    options = VerifyOptions(home=home, search="aligned", catalog=shelf(marked["png"]))
    steps = list(verify_steps(marked["png"].data, "x", options, options.load_trust()))
    for earlier, later in itertools.pairwise(steps):
        assert set(earlier.verdict.evidence) <= set(later.verdict.evidence)
        assert earlier.left
    assert not steps[-1].left
    assert steps[0].verdict.confidence == "proven"  # the credential comes before anything is decoded
    assert steps[-1].verdict.catalog is not None
    assert [Step.from_json(json.loads(json.dumps(step.to_json()))) for step in steps] == steps


def test_metadata_is_known_before_the_pixels_are_decoded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = PngInfo()
    info.add_text("parameters", "a fox\nSteps: 20, Sampler: Euler, Seed: 1")
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "PNG", pnginfo=info)
    options = VerifyOptions(home=home)

    def breaks(pixels: Pixels) -> None:
        raise MemoryError

    monkeypatch.setattr(Pixels, "rgb", breaks)
    seen: list[Step] = []
    with pytest.raises(MemoryError):
        seen.extend(verify_steps(file.getvalue(), "x", options, options.load_trust()))
    last = seen[-1]  # a list keeps what came before its source broke off
    verdict = cut_short(last, "x", "needs more memory than one file may have", options.load_trust())
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "claimed")
    assert verdict.recipe is not None
    assert verdict.recipe["prompt"] == "a fox"
    assert "its pixels were not searched" in str(verdict.error)


def test_patterns_name_files_folders_and_globs(tmp_path: Path, marked: dict[str, MarkedFile]) -> None:
    folder = folder_of(tmp_path, marked)
    shutil.copy(folder / "plain.JPG", folder / "[odd].png")
    names = [p.name for p in expand_paths([str(folder / "deep" / "*.png"), folder / "[odd].png"])]
    assert names == ["fox.png", "[odd].png"]
    assert list(expand_paths([str(folder / "*.gif")])) == []


def with_dwt_dct(image: RGB, bits: tuple[int, ...]) -> RGB:
    """`image` with a message of invisible-watermark's dwtDct, written from its description."""
    yuv = cv2.cvtColor(image, cv2.COLOR_RGB2YUV).astype(np.float64)
    u = yuv[..., 1]
    low = (u[0::2, 0::2] + u[0::2, 1::2] + u[1::2, 0::2] + u[1::2, 1::2]) / 2
    number = 0
    for row in range(low.shape[0] // 4):
        for column in range(low.shape[1] // 4):
            block = low[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4].ravel()
            at = 1 + int(np.argmax(np.abs(block[1:])))
            wanted = (np.abs(block[at]) // 36 + 0.25 + 0.5 * bits[number % len(bits)]) * 36
            change = (np.copysign(wanted, block[at]) - block[at]) / 2
            y, x = (row * 4 + at // 4) * 2, (column * 4 + at % 4) * 2
            u[y : y + 2, x : x + 2] += change
            number += 1
    return cv2.cvtColor(np.clip(np.rint(yuv), 0, 255).astype(np.uint8), cv2.COLOR_YUV2RGB)


def test_the_mark_of_stable_diffusions_scripts_is_read(ask: Callable[..., Verdict]) -> None:
    from nonesuch.provenance.watermark.other_packages import KNOWN_MARKS

    plain = np.clip(picture(3, 512).astype(int) // 4 + 96, 0, 255).astype(np.uint8)
    assert ask(again(plain, "PNG")).watermark is None
    verdict = ask(again(with_dwt_dct(plain, KNOWN_MARKS[0].bits), "PNG"))
    assert verdict.watermark is not None
    assert verdict.watermark["payload"] == "StableDiffusionV1"
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "strong")
    assert "Stable Diffusion" in str(verdict.generator)
