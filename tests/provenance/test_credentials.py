import datetime as dt
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from cbor2 import CBORError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from provenance_samples import picture, request

from nonesuch.provenance.credentials import certificates, jumbf
from nonesuch.provenance.credentials.reading import check_parent, read_credentials, sniff_mime
from nonesuch.provenance.credentials.trustlist import TrustSet, load_trust, parse_certificates
from nonesuch.provenance.marking.drawn_image import MarkedFile, mark_image
from nonesuch.provenance.signing import keys
from nonesuch.provenance.signing.signer import Signer, make_signer, open_signer
from nonesuch.provenance.verifying.verdict import Verdict

pytestmark = pytest.mark.slow

FORMATS = ("png", "jpeg", "webp")


@pytest.mark.parametrize("name", FORMATS)
def test_an_intact_file_of_ones_own(marked: dict[str, MarkedFile], trust: TrustSet, name: str) -> None:
    report = read_credentials(marked[name].data, marked[name].mime, trust)
    active = report.active
    assert active is not None
    assert (report.integrity, active.trust, active.time) == ("intact", "own", "ok")
    assert active.label == marked[name].manifest_id
    assert active.soft_bindings[0][1] == "0123456789abcdef"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("where", [0.5, 0.9])
def test_a_flipped_byte_of_the_picture_is_altered(
    marked: dict[str, MarkedFile], trust: TrustSet, name: str, where: float
) -> None:
    data = bytearray(marked[name].data)
    store = marked[name].manifest
    assert store is not None
    start = data.find(store)  # PNG and JPEG hold it before the picture, WebP after
    first, last = (0, start) if start > len(data) / 2 else (start + len(store), len(data))
    at = first + int((last - first) * where)
    data[at] ^= 1
    report = read_credentials(bytes(data), marked[name].mime, trust)
    assert report.integrity == "altered"
    assert "mismatch" in report.detail


def test_a_changed_claim_proves_no_signer(marked: dict[str, MarkedFile], trust: TrustSet) -> None:
    data = marked["jpeg"].data
    forged = data.replace(b"fox.jpeg", b"fix.jpeg", 1)  # the title, which stands in the claim itself
    report = read_credentials(forged, "image/jpeg", trust)
    assert report.integrity == "altered"
    assert report.active is not None
    assert report.active.trust == "unlisted"


def test_saving_again_leaves_nothing(marked: dict[str, MarkedFile], trust: TrustSet) -> None:
    target = io.BytesIO()
    Image.open(io.BytesIO(marked["png"].data)).save(target, "PNG")
    assert read_credentials(target.getvalue(), "image/png", trust).integrity == "unsigned"


def test_a_manifest_moved_to_another_picture_is_altered(
    marked: dict[str, MarkedFile], signer: Signer, trust: TrustSet
) -> None:
    other = mark_image(picture(5), request(watermark=None, credentials=False), None)
    report = read_credentials(other.data, "image/png", trust, manifest=marked["png"].manifest)
    assert report.integrity == "altered"


def _expired(home: Path, monkeypatch: pytest.MonkeyPatch) -> Signer:
    """A signer whose certificate has two seconds left."""
    keys.load_or_make(home)
    real = keys._certificate

    def short(
        issuer: x509.Name, subject: x509.Name, key: keys.PrivateKey, lasts: dt.timedelta
    ) -> x509.CertificateBuilder:
        return real(issuer, subject, key, dt.timedelta(days=1, seconds=2))

    monkeypatch.setattr(keys, "_certificate", short)
    return make_signer(keys.rotate_keys(home))


def test_an_expired_certificate_is_not_an_alteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Verdict]
) -> None:
    signer = _expired(tmp_path, monkeypatch)
    file = mark_image(picture(), request(watermark=None), signer)
    while dt.datetime.now(dt.UTC) <= signer.not_after + dt.timedelta(seconds=1):
        pass
    report = read_credentials(file.data, file.mime, load_trust(None, tmp_path))
    active = report.active
    assert active is not None
    assert (report.integrity, active.trust, active.time) == ("intact", "own", "expired-untimestamped")
    assert active.signed_at is None
    stranger = ask(file.data)
    assert (stranger.integrity, stranger.trust, stranger.time) == (
        "intact",
        "unlisted",
        "expired-untimestamped",
    )
    assert stranger.confidence == "strong"


def test_a_chain_of_parents_is_walked_to_its_end(signer: Signer, trust: TrustSet) -> None:
    data = mark_image(picture(0), request(watermark=None), signer).data
    for depth in range(1, 5):
        child = request(parents=(data,), source_type="humanEdits", watermark=None)
        data = mark_image(picture(depth), child, signer).data
    report = read_credentials(data, "image/png", trust)
    assert [m.relationship for m in report.manifests] == ["active"] + ["parentOf"] * 4
    assert len(report.manifests[-1].path) == 5
    assert all(m.integrity == "intact" and m.trust == "own" for m in report.manifests)


def test_the_origin_far_down_the_history_decides(signer: Signer, ask: Callable[..., Verdict]) -> None:
    drawn = mark_image(picture(0), request(watermark=None), signer).data
    edited = request(parents=(drawn,), source_type="humanEdits", watermark=None)
    verdict = ask(mark_image(picture(1), edited, signer).data)
    assert (verdict.verdict, verdict.confidence) == ("ai-generated", "proven")


def test_a_generated_component_makes_generated_parts(
    signer: Signer, tmp_path: Path, ask: Callable[..., Verdict]
) -> None:
    drawn = mark_image(picture(0), request(watermark=None), signer).data
    photo = mark_image(picture(2), request(watermark=None, source_type="digitalCapture"), signer).data
    collage = request(
        parents=(photo, drawn), source_type="composite", watermark=None, recipe={}, generator="x"
    )
    verdict = ask(mark_image(picture(1), collage, signer).data)
    assert verdict.verdict == "ai-edited"
    # what a component was made from is a part too
    edited = request(parents=(drawn,), source_type="humanEdits", watermark=None, recipe={}, generator="x")
    deeper = request(
        parents=(photo, mark_image(picture(4), edited, signer).data),
        source_type="composite", watermark=None, recipe={}, generator="x",
    )  # fmt: skip
    assert ask(mark_image(picture(1), deeper, signer).data).verdict == "ai-edited"


def test_a_stranger_cannot_borrow_a_proven_parent(
    signer: Signer, tmp_path: Path, ask: Callable[..., Verdict]
) -> None:
    drawn = mark_image(picture(0), request(watermark=None), signer).data
    stranger = open_signer(tmp_path / "stranger")
    borrowed = request(parents=(drawn,), source_type="humanEdits", watermark=None)
    verdict = ask(mark_image(picture(1), borrowed, stranger).data)
    assert (verdict.verdict, verdict.confidence, verdict.trust) == ("ai-generated", "strong", "unlisted")


def test_only_listed_signers_are_believed_about_cameras(
    signer: Signer, home: Path, ask: Callable[..., Verdict]
) -> None:
    settings = {"source_type": "digitalCapture", "watermark": None, "recipe": {}, "generator": ""}
    photo = mark_image(picture(3), request(**settings), signer).data
    assert ask(photo).verdict == "no-evidence"


def test_check_parent_tells_signed_from_unsigned(marked: dict[str, MarkedFile]) -> None:
    plain = mark_image(picture(), request(watermark=None, credentials=False))
    assert check_parent(plain.data, "image/png", "p").integrity == "unsigned"
    assert check_parent(marked["webp"].data, "image/webp", "p").integrity == "intact"


@given(st.binary(max_size=400))
def test_any_bytes_as_a_manifest_store_give_no_chain(data: bytes) -> None:
    assert jumbf.signing_chains(data) == {}


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
def test_a_damaged_store_never_raises(marked: dict[str, MarkedFile], at: int, garbage: bytes) -> None:
    store = marked["png"].manifest
    assert store is not None
    jumbf.signing_chains(store[:at] + garbage + store[at + len(garbage) :])


@given(st.binary(max_size=64))
def test_cbor_of_any_bytes_is_a_value_or_a_cbor_error(data: bytes) -> None:
    try:
        jumbf.read_cbor(data)
    except CBORError:
        pass
    else:
        assert data


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x81" * 9, b"\xa1\x01" * 9, b"\xc1" * 9 + b"\x01", b"\x81" * 1_000_000,  # nested too deeply
        b"\x9b\x00\x00\x00\x0f\xff\xff\xff\xff", b"\x5b\x7f" + b"\xff" * 7,  # more items than bytes
    ],
)  # fmt: skip
def test_cbor_that_asks_for_too_much_is_an_error(encoded: bytes) -> None:
    with pytest.raises(CBORError):
        jumbf.read_cbor(encoded)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0), ("1903e8", 1000), ("3903e7", -1000), ("43010203", b"\x01\x02\x03"), ("6161", "a"),
        ("83010203", [1, 2, 3]), ("a1613102", {"1": 2}), ("d28101", [1]), ("f6", None), ("f5", True),
        ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"), ("9f01ff", [1]), ("fb3ff199999999999a", 1.1),
        ("d82363282828", "((("), ("c5821b000000100000000003", [2**36, 3]),  # no regular expression, no huge number
    ],
)  # fmt: skip
def test_cbor_values_of_rfc_8949(encoded: str, value: object) -> None:
    assert jumbf.read_cbor(bytes.fromhex(encoded)) == value


def test_the_store_holds_the_whole_signing_chain(marked: dict[str, MarkedFile], home: Path) -> None:
    file = marked["png"]
    assert file.manifest is not None
    chain = jumbf.signing_chains(file.manifest)[file.manifest_id or ""]
    assert chain == keys.load_or_make(home).chain
    assert certificates.chains_to(chain, parse_certificates(keys.own_anchors(home).encode()))
    assert not certificates.chains_to(chain, load_trust().listed)


def test_a_chain_needs_signatures_and_not_just_names(tmp_path: Path) -> None:
    real, fake = keys.load_or_make(tmp_path / "a"), keys.load_or_make(tmp_path / "b")
    impostor_key = ec.generate_private_key(ec.SECP256R1())
    root = real.chain[1]
    impostor = (
        x509.CertificateBuilder(root.subject, root.subject, impostor_key.public_key(), 9)
        .not_valid_before(root.not_valid_before_utc)
        .not_valid_after(root.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(impostor_key, real.leaf.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    assert certificates.chains_to(real.chain, [root])
    assert not certificates.chains_to(real.chain, [impostor])
    assert not certificates.chains_to(fake.chain, [root])
    assert not certificates.chains_to((), [root])


def test_the_pinned_list_is_the_one_named() -> None:
    trust = load_trust()
    assert trust.to_json() == {
        "date": "2026-08-21",
        "sha256": "75cacc98b79ecac33713c7ecfb58d4a0ef383f3c1f886e7409f9e37e8664aea5",
    }
    assert len(trust.listed) == 30


def test_a_broken_entry_does_not_spoil_a_trust_file(tmp_path: Path, marked: dict[str, MarkedFile]) -> None:
    own = keys.own_anchors(tmp_path)
    broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    signer = open_signer(tmp_path)
    own = keys.own_anchors(tmp_path)
    listed = tmp_path / "list.pem"
    listed.write_text("# comment\n" + broken + own)
    file = mark_image(picture(size=64), request(watermark=None), signer)
    report = read_credentials(file.data, file.mime, load_trust(listed, tmp_path / "nobody"))
    assert report.active is not None
    assert report.active.trust == "listed"


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_told_by_their_first_bytes(marked: dict[str, MarkedFile], name: str) -> None:
    assert sniff_mime(marked[name].data) == marked[name].mime
    assert sniff_mime(b"%PDF-1.7") == "application/octet-stream"
