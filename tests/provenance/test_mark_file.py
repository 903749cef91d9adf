import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin
from PIL.PngImagePlugin import PngInfo
from provenance_samples import picture

from nonesuch.formats.raw_fields import read_source
from nonesuch.foundation.errors import InputError
from nonesuch.provenance.credentials.reading import read_credentials
from nonesuch.provenance.credentials.trustlist import TrustSet
from nonesuch.provenance.marking.drawn_image import MarkedFile
from nonesuch.provenance.marking.existing_file import mark_file
from nonesuch.provenance.signing.signer import Signer
from nonesuch.provenance.verifying.verdict import Verdict

A1111 = "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x64"


def saved(folder: Path, name: str, image: Image.Image, **options: object) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def test_a_signed_original_becomes_the_parent(
    tmp_path: Path,
    marked: dict[str, MarkedFile],
    signer: Signer,
    trust: TrustSet,
    ask: Callable[..., Verdict],
) -> None:
    path = tmp_path / "theirs.jpg"
    path.write_bytes(marked["jpeg"].data)
    again = mark_file(path, signer, payload=99)
    report = read_credentials(again.data, again.mime, trust)
    assert [m.relationship for m in report.manifests] == ["active", "parentOf"]
    assert report.manifests[1].label == marked["jpeg"].manifest_id
    assert again.parents[0].integrity == "intact"
    verdict = ask(again.data)
    assert (verdict.verdict, verdict.confidence, verdict.integrity) == ("ai-generated", "proven", "intact")


def test_a_broken_original_is_kept_and_said_to_be_broken(
    tmp_path: Path, marked: dict[str, MarkedFile], signer: Signer, ask: Callable[..., Verdict]
) -> None:
    data = marked["jpeg"].data.replace(b"fox.jpeg", b"fix.jpeg", 1)  # the title, in the claim
    (tmp_path / "broken.jpg").write_bytes(data)
    again = mark_file(tmp_path / "broken.jpg", signer)
    assert again.parents[0].integrity == "altered"
    verdict = ask(again.data)
    assert verdict.integrity == "intact"
    # what its first mark says, which is in the pixels still, no credential takes back
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "strong")


def test_marking_says_nothing_of_the_origin_unless_told(
    tmp_path: Path, signer: Signer, ask: Callable[..., Verdict]
) -> None:
    path = saved(tmp_path, "photo.png", Image.fromarray(picture(3)))
    plain = ask(mark_file(path, signer).data)
    assert (plain.verdict, plain.integrity) == ("no-evidence", "intact")
    assert plain.watermark is not None
    told = ask(mark_file(path, signer, source_type="trainedAlgorithmicMedia").data)
    assert (told.verdict, told.confidence) == ("ai-generated", "proven")
    with pytest.raises(InputError, match="digital source type"):
        mark_file(path, signer, source_type="photo")


@pytest.mark.parametrize(("name", "format"), [("a.png", "png"), ("a.jpg", "jpeg"), ("a.webp", "webp")])
def test_profile_exif_and_text_stay(
    tmp_path: Path, signer: Signer, ask: Callable[..., Verdict], name: str, format: str
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Model 1"
    options: dict[str, object] = {"icc_profile": profile, "exif": exif}
    if format == "png":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("parameters", A1111)  # type: ignore[attr-defined]
    file = mark_file(saved(tmp_path, name, Image.fromarray(picture(3)), **options), signer)
    assert file.suffix == Path(name).suffix
    result = Image.open(io.BytesIO(file.data))
    assert result.info["icc_profile"] == profile
    assert read_source(file.data, file.mime).exif[0x0110] == "Model 1"
    if format == "png":
        assert ask(file.data).recipe["seed"] == 5
    assert ask(file.data).integrity == "intact"


def test_transparency_stays(tmp_path: Path, signer: Signer) -> None:
    alpha = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    path = saved(tmp_path, "clear.png", Image.fromarray(np.dstack([picture(3), alpha])))
    result = Image.open(io.BytesIO(mark_file(path, signer).data))
    assert np.array_equal(np.asarray(result)[..., 3], alpha)


def test_what_would_be_lost_is_refused(tmp_path: Path, signer: Signer) -> None:
    frames = [Image.fromarray(picture(n)) for n in range(2)]
    moving = saved(tmp_path, "moving.webp", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="animation"):
        mark_file(moving, signer)
    deep = saved(tmp_path, "deep.png", Image.fromarray(np.zeros((80, 80), np.uint16)))
    with pytest.raises(InputError, match="8 bits"):
        mark_file(deep, signer)
    colours = tmp_path / "deep colours.png"
    cv2.imwrite(str(colours), np.zeros((80, 80, 3), np.uint16))
    with pytest.raises(InputError, match="more than 8 bits"):
        mark_file(colours, signer)
    pages = saved(tmp_path, "pages.tiff", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="several pages"):
        mark_file(pages, signer)
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(InputError):
        mark_file(tmp_path / "no.png", signer)
    tiny = saved(tmp_path, "tiny.png", Image.fromarray(picture(3)[:20, :20]))
    with pytest.raises(InputError, match="64"):
        mark_file(tiny, signer)


def test_a_phones_jpeg_is_marked_with_all_that_it_says(tmp_path: Path, signer: Signer) -> None:
    iim = b"\x1c\x02\x50\x00\x03Ada"  # the by-line
    block = b"8BIM" + (0x0404).to_bytes(2) + b"\0\0" + len(iim).to_bytes(4) + iim
    main, gain = Image.fromarray(picture(3)), Image.fromarray(picture(4))
    path = saved(
        tmp_path,
        "phone.jpg",
        main,
        format="MPO",
        save_all=True,
        append_images=[gain],
        dpi=(300, 300),
        subsampling=0,
    )
    data = path.read_bytes()
    body = b"Photoshop 3.0\0" + block + bytes(len(block) % 2)
    path.write_bytes(data[:2] + b"\xff\xed" + (len(body) + 2).to_bytes(2) + body + data[2:])
    file = mark_file(path, signer)
    image = Image.open(io.BytesIO(file.data))
    assert (file.mime, image.info["dpi"], JpegImagePlugin.get_sampling(image)) == (
        "image/jpeg",
        (300, 300),
        0,
    )
    assert read_source(file.data, file.mime).iptc == {"byline": "Ada"}


def test_other_formats_become_png(tmp_path: Path, signer: Signer, ask: Callable[..., Verdict]) -> None:
    path = saved(tmp_path, "old.tiff", Image.fromarray(picture(3)))
    file = mark_file(path, signer)
    assert (file.mime, file.suffix) == ("image/png", ".png")
    assert ask(file.data).watermark is not None


def test_a_picture_marked_twice_is_no_conflict(
    tmp_path: Path, marked: dict[str, MarkedFile], signer: Signer, ask: Callable[..., Verdict]
) -> None:
    path = tmp_path / "once.png"
    path.write_bytes(marked["png"].data)
    twice = mark_file(path, signer, payload=99)
    assert ask(twice.data).verdict == "ai-generated"
