import io
from pathlib import Path

import pytest
from PIL import Image
from provenance_samples import picture, request
from test_verify import again, shelf

from nonesuch.foundation.errors import InputError, ProvenanceError
from nonesuch.provenance.credentials.reading import read_credentials
from nonesuch.provenance.credentials.trustlist import TrustSet
from nonesuch.provenance.marking.drawn_image import MarkedFile, mark_image
from nonesuch.provenance.sidecar import read_manifest, write_pack
from nonesuch.provenance.signing.signer import Signer
from nonesuch.provenance.verifying.recovery import recover


def test_packs_give_back_what_was_put_in(tmp_path: Path, marked: dict[str, MarkedFile]) -> None:
    stores = [file.manifest or b"" for file in marked.values()]
    path = write_pack(tmp_path, "sweep-0001", stores)
    assert path.read_bytes() == write_pack(tmp_path, "sweep-0001", reversed(stores)).read_bytes()
    write_pack(tmp_path, "sweep-0002", [b"another"])
    for file in marked.values():
        digest = file.manifest_digest or ""
        assert read_manifest(tmp_path, digest) == file.manifest
        assert read_manifest(tmp_path, digest, pack="sweep-0002") == file.manifest
        assert read_manifest(tmp_path, digest, pack="gone") == file.manifest
    assert read_manifest(tmp_path, "0" * 64) is None
    assert read_manifest(tmp_path / "nowhere", "0" * 64) is None


def test_damaged_packs_are_named(tmp_path: Path, marked: dict[str, MarkedFile]) -> None:
    file = marked["png"]
    path = write_pack(tmp_path, "pack", [file.manifest or b""])
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    with pytest.raises(ProvenanceError, match=r"pack\.zip"):
        read_manifest(tmp_path, file.manifest_digest or "")
    path.write_bytes(b"no zip")
    with pytest.raises(ProvenanceError, match=r"pack\.zip"):
        read_manifest(tmp_path, file.manifest_digest or "")


def test_a_stripped_image_gets_everything_back(
    tmp_path: Path, signer: Signer, home: Path, trust: TrustSet
) -> None:
    file = mark_image(picture(6, 512), request(), signer)
    original = tmp_path / "fox.png"
    original.write_bytes(file.data)
    write_pack(tmp_path, "pack", [file.manifest or b""])
    stripped = tmp_path / "stripped.jpg"
    turned = Image.fromarray(file.image).resize((410, 410)).transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", quality=80)
    stripped.write_bytes(buffer.getvalue())
    catalog = shelf(file, original)

    found = recover(
        stripped,
        catalog,
        home=home,
        manifest_of=lambda r: read_manifest(tmp_path, file.manifest_digest or ""),
    )
    assert found is not None
    assert found.found_by == "watermark"
    assert found.original == file.data
    assert found.manifest == file.manifest
    assert found.credential is not None
    assert found.credential.integrity == "intact"
    assert found.record.recipe == request().recipe
    # The sidecar's manifest belongs to the original, byte for byte.
    bare = mark_image(picture(6, 512), request(credentials=False))
    assert read_credentials(bare.data, "image/png", trust, manifest=found.manifest).integrity == "altered"


def test_without_a_mark_the_fingerprint_leads_back(tmp_path: Path, home: Path) -> None:
    file = mark_image(picture(), request(watermark=None, credentials=False))
    plain = tmp_path / "plain.jpg"
    plain.write_bytes(again(file.image, quality=70))
    found = recover(plain, shelf(file, tmp_path / "gone.png"), home=home)
    assert found is not None
    assert (found.found_by, found.original, found.manifest) == ("fingerprint", None, None)


def test_a_changed_original_is_not_given_back(
    tmp_path: Path, marked: dict[str, MarkedFile], home: Path
) -> None:
    original = tmp_path / "fox.png"
    original.write_bytes(marked["png"].data + b"x")
    stripped = tmp_path / "stripped.png"
    stripped.write_bytes(again(marked["png"].image, "PNG"))
    found = recover(stripped, shelf(marked["png"], original), home=home)
    assert found is not None
    assert found.original is None


def test_strangers_and_copied_marks_are_not_recovered(
    tmp_path: Path, marked: dict[str, MarkedFile], home: Path
) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(again(picture(8), "PNG"))
    assert recover(other, shelf(marked["png"]), home=home) is None
    other.write_bytes(again(mark_image(picture(8), request(credentials=False)).image, "PNG"))
    with pytest.raises(ProvenanceError, match="another image"):
        recover(other, shelf(marked["png"]), home=home)
    other.write_bytes(b"no picture")
    with pytest.raises(InputError):
        recover(other, shelf(marked["png"]), home=home)
