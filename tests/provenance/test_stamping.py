"""Timestamps that come late: signed while the authority was away, stamped by an update manifest."""

import datetime as dt
import time
from pathlib import Path

import pytest
from cryptography import x509
from provenance_samples import picture, request
from timestamp_authority import authority

from nonesuch.foundation.errors import ProvenanceError
from nonesuch.provenance.credentials.reading import read_credentials
from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.marking.drawn_image import MarkedFile, mark_image
from nonesuch.provenance.signing import keys
from nonesuch.provenance.signing.signer import make_signer, open_signer
from nonesuch.provenance.signing.stamping import stamp_file
from nonesuch.provenance.signing.timestamps import Authority
from nonesuch.provenance.verifying.verify import VerifyOptions, verify_bytes

pytestmark = pytest.mark.slow

AWAY = "http://127.0.0.1:9/"  # the discard port: nothing listens there


def unstamped(home: Path, format: str) -> MarkedFile:
    signer = open_signer(home, timestamp_url=AWAY, timestamp_policy="queue")
    file = mark_image(picture(size=64), request(format=format, watermark=None), signer)
    assert not file.timestamped
    return file


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_a_queued_file_is_stamped_and_keeps_everything(tmp_path: Path, format: str) -> None:
    home, tsa = tmp_path / "home", tmp_path / "tsa"
    tsa.mkdir()
    file = unstamped(home, format)
    with authority(tsa) as (url, root):
        signer = open_signer(home, timestamp_url=url)
        stamped = stamp_file(file.data, signer, load_trust(None, home))
        assert stamped is not None
        assert stamp_file(stamped.data, signer, load_trust(None, home)) is None
    (keys.keys_dir(home) / "anchors" / "tsa.pem").write_bytes(root)
    trust = load_trust(None, home)
    report = read_credentials(stamped.data, file.mime, trust)
    assert [(m.relationship, m.integrity, m.trust, m.time) for m in report.manifests] == [
        ("active", "intact", "own", "ok"),
        ("parentOf", "intact", "own", "ok"),
    ]
    assert report.manifests[0].signed_at is not None
    assert report.manifests[1].label == file.manifest_id
    verdict = verify_bytes(stamped.data, "x", VerifyOptions(search="aligned"), trust)
    assert (verdict.verdict, verdict.confidence, verdict.time) == ("ai-generated", "proven", "ok")
    assert verdict.signed_at is not None


def test_a_late_stamp_outlives_the_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, tsa = tmp_path / "home", tmp_path / "tsa"
    tsa.mkdir()
    keys.load_or_make(home)
    real = keys._certificate

    def short(
        issuer: x509.Name, subject: x509.Name, key: keys.PrivateKey, lasts: dt.timedelta
    ) -> x509.CertificateBuilder:
        return real(issuer, subject, key, dt.timedelta(days=1, seconds=5))

    with monkeypatch.context() as patched:
        patched.setattr(keys, "_certificate", short)
        expiring = make_signer(keys.rotate_keys(home))
    file = mark_image(picture(size=64), request(format="jpeg", watermark=None), expiring)
    keys.rotate_keys(home)
    with authority(tsa) as (url, root):
        stamped = stamp_file(file.data, open_signer(home, timestamp_url=url), load_trust(None, home))
    assert stamped is not None
    (keys.keys_dir(home) / "anchors" / "tsa.pem").write_bytes(root)
    while dt.datetime.now(dt.UTC) <= expiring.not_after + dt.timedelta(seconds=1):
        time.sleep(0.1)
    trust, options = load_trust(None, home), VerifyOptions(search="aligned")
    assert verify_bytes(file.data, "x", options, trust).time == "expired-untimestamped"
    assert [m.time for m in read_credentials(stamped.data, file.mime, trust).manifests] == ["ok", "ok"]


def test_what_can_not_be_stamped_is_refused_with_the_reason(tmp_path: Path) -> None:
    home, trust = tmp_path / "home", load_trust(None, tmp_path / "home")
    signer = open_signer(home, timestamp_url=AWAY)
    webp, png = unstamped(home, "webp"), unstamped(home, "png")
    own = load_trust(None, home)
    with pytest.raises(ProvenanceError, match="length in its header"):
        stamp_file(webp.data, signer, own)
    with pytest.raises(ProvenanceError, match="signed by"):
        stamp_file(png.data, open_signer(tmp_path / "other", timestamp_url=AWAY), trust)
    with pytest.raises(ProvenanceError, match="no sound credential"):
        stamp_file(png.data.replace(b"fox.png", b"fix.png", 1), signer, own)
    with pytest.raises(ProvenanceError, match="timestamp authority"):
        stamp_file(png.data, signer, own)
    with pytest.raises(ProvenanceError, match="needs a timestamp authority"):
        stamp_file(png.data, open_signer(home), own)


def test_an_authority_that_failed_is_left_alone_for_a_while() -> None:
    patient = Authority(rest=3600)
    assert not patient.rests()
    patient.failed()
    assert patient.rests()
    eager = Authority(rest=0)
    eager.failed()
    assert not eager.rests()
