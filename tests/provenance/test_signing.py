import datetime as dt
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from provenance_samples import picture, request
from timestamp_authority import authority

from nonesuch.foundation.errors import InputError, ProvenanceError
from nonesuch.provenance.credentials import certificates
from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.marking.drawn_image import MarkedFile, mark_image
from nonesuch.provenance.signing import keys
from nonesuch.provenance.signing.signer import Signer, make_external_signer, make_signer, open_signer
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.provenance.verifying.verify import VerifyOptions, verify_bytes

pytestmark = pytest.mark.slow


@dataclass
class Profile:
    """A leaf certificate's properties; the defaults make a good one."""

    starts: dt.timedelta = dt.timedelta(days=-1)
    ends: dt.timedelta = dt.timedelta(days=30)
    usage: bool | None = True  # digitalSignature; None leaves the extension out
    purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.EMAIL_PROTECTION
    authority_key: bool = True
    is_authority: bool = False


def write_pair(folder: Path, profile: Profile, *, other_key: bool = False) -> tuple[Path, Path, Path]:
    """A root, a leaf of that profile and its key, as PEM files: (chain, key, root)."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"),
                x509.NameAttribute(NameOID.COMMON_NAME, text),
            ]
        )

    root = (
        x509.CertificateBuilder(name("root"), name("root"), root_key.public_key(), 1)
        .not_valid_before(now - dt.timedelta(days=400))
        .not_valid_after(now + dt.timedelta(days=400))
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    builder = (
        x509.CertificateBuilder(name("root"), name("leaf"), key.public_key(), 2)
        .not_valid_before(now + profile.starts)
        .not_valid_after(now + profile.ends)
        .add_extension(x509.BasicConstraints(profile.is_authority, None), critical=True)
    )
    if profile.usage is not None:
        flags = [
            profile.usage,
            not profile.usage,
            False,
            False,
            False,
            profile.is_authority,
            False,
            False,
            False,
        ]
        builder = builder.add_extension(x509.KeyUsage(*flags), critical=True)
    if profile.purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([profile.purpose]), critical=False)
    if profile.authority_key:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    leaf = builder.sign(root_key, hashes.SHA256())
    chain, key_file, root_file = folder / "chain.pem", folder / "key.pem", folder / "root.pem"
    chain.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    root_file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    written = ec.generate_private_key(ec.SECP256R1()) if other_key else key
    key_file.write_bytes(keys.KeyPair(written, (), "").key_pem())
    key_file.chmod(0o600)
    return chain, key_file, root_file


BAD = {
    "expired": (Profile(ends=dt.timedelta(hours=-1)), "expired on"),
    "not yet valid": (Profile(starts=dt.timedelta(days=2)), "not valid before"),
    "no key usage": (Profile(usage=None), "digitalSignature"),
    "other key usage": (Profile(usage=False), "digitalSignature"),
    "no purpose": (Profile(purpose=None), "no extended key usage"),
    "server": (Profile(purpose=ExtendedKeyUsageOID.SERVER_AUTH), "none of emailProtection"),
    "any purpose": (Profile(purpose=ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE), "anyExtendedKeyUsage"),
    "no authority key": (Profile(authority_key=False), "authority key identifier"),
    "authority": (Profile(is_authority=True), "of an authority"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_certificates_are_refused_with_the_reason(tmp_path: Path, case: str) -> None:
    profile, reason = BAD[case]
    chain, key, _ = write_pair(tmp_path, profile)
    with pytest.raises(InputError, match=reason):
        open_signer(certificate=chain, private_key=key)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    chain, key, _ = write_pair(tmp_path, Profile(), other_key=True)
    with pytest.raises(InputError, match="does not belong"):
        open_signer(certificate=chain, private_key=key)


def test_a_readable_key_file_is_refused(tmp_path: Path) -> None:
    chain, key, _ = write_pair(tmp_path, Profile())
    key.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        open_signer(certificate=chain, private_key=key)


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    chain, key, _ = write_pair(tmp_path, Profile())
    with pytest.raises(InputError, match="go together"):
        open_signer(certificate=chain)
    with pytest.raises(InputError, match="for es256, not ps256"):
        open_signer(certificate=chain, private_key=key, algorithm="ps256")


@pytest.mark.parametrize("purpose", ["1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1"])
def test_ones_own_certificate_is_listed_under_ones_own_list(tmp_path: Path, purpose: str) -> None:
    chain, key, root = write_pair(tmp_path, Profile(purpose=x509.ObjectIdentifier(purpose)))
    file = mark_image(picture(), request(watermark=None), open_signer(certificate=chain, private_key=key))
    options = VerifyOptions(home=tmp_path, trust=root, search="aligned")
    verdict = verify_bytes(file.data, "x", options, load_trust(root, tmp_path))
    assert (verdict.integrity, verdict.trust, verdict.confidence) == ("intact", "listed", "proven")
    assert verdict.trust_list["date"] is None
    stranger = verify_bytes(file.data, "x", options, load_trust(None, tmp_path))
    assert (stranger.integrity, stranger.trust, stranger.confidence) == ("intact", "unlisted", "strong")


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
def test_every_algorithm_signs_what_verifies(tmp_path: Path, algorithm: str) -> None:
    signer = open_signer(tmp_path, algorithm=algorithm)
    assert signer.algorithm == algorithm
    file = mark_image(picture(size=64), request(watermark=None), signer)
    verdict = verify_bytes(file.data, "x", VerifyOptions(search="aligned"), load_trust(None, tmp_path))
    assert (verdict.integrity, verdict.trust) == ("intact", "own")


def test_threads_share_a_signer(signer: Signer, ask: Callable[..., Verdict]) -> None:
    def work(number: int) -> bytes:
        return mark_image(picture(number, 64), request(watermark=None, format="jpeg"), signer).data

    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(work, range(32)))
    assert all(ask(data).integrity == "intact" for data in files)


def test_a_timestamp_authority_that_is_away(home: Path) -> None:
    away = "http://127.0.0.1:9/"  # the discard port: nothing listens there
    with pytest.raises(ProvenanceError, match="timestamp authority"):
        mark_image(picture(size=64), request(watermark=None), open_signer(home, timestamp_url=away))
    going_on = open_signer(home, timestamp_url=away, timestamp_policy="continue")
    assert not mark_image(picture(size=64), request(watermark=None), going_on).timestamped


def test_a_signer_never_shows_its_key(signer: Signer) -> None:
    assert "PRIVATE" not in repr(signer)


def signed_by(signer: Signer) -> MarkedFile:
    return mark_image(picture(size=64), request(watermark=None), signer)


def test_a_timestamp_outlives_the_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, tsa = tmp_path / "home", tmp_path / "tsa"
    tsa.mkdir()
    keys.load_or_make(home)
    real = keys._certificate

    def short(
        issuer: x509.Name, subject: x509.Name, key: keys.PrivateKey, lasts: dt.timedelta
    ) -> x509.CertificateBuilder:
        return real(issuer, subject, key, dt.timedelta(days=1, seconds=5))

    monkeypatch.setattr(keys, "_certificate", short)
    pair = keys.rotate_keys(home)
    with authority(tsa) as (url, root):
        signer = make_signer(pair, timestamp_url=url)
        file = signed_by(signer)
    assert file.timestamped
    while dt.datetime.now(dt.UTC) <= signer.not_after + dt.timedelta(seconds=1):
        time.sleep(0.1)
    strange = verify_bytes(file.data, "x", VerifyOptions(search="aligned"), load_trust(None, home))
    assert (strange.integrity, strange.time, strange.signed_at) == ("intact", "expired-untimestamped", None)
    (keys.keys_dir(home) / "anchors" / "tsa.pem").write_bytes(root)
    known = verify_bytes(file.data, "x", VerifyOptions(search="aligned"), load_trust(None, home))
    assert (known.integrity, known.trust, known.time) == ("intact", "own", "ok")
    assert known.signed_at is not None
    assert known.signed_at.startswith(f"{signer.not_after:%Y-%m-%d}")


SIGN_COMMAND = """
import sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = serialization.load_pem_private_key(open(sys.argv[1], 'rb').read(), None)
sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256())))
"""


def test_a_command_signs(tmp_path: Path) -> None:
    chain, key, root = write_pair(tmp_path, Profile())
    command = ["openssl", "dgst", "-sha256", "-sign", str(key)]
    signer = open_signer(certificate=chain, command=command)
    options = VerifyOptions(trust=root, search="aligned")
    verdict = verify_bytes(signed_by(signer).data, "x", options, load_trust(root, tmp_path))
    assert (verdict.integrity, verdict.trust) == ("intact", "listed")
    other = open_signer(certificate=chain, command=[sys.executable, "-c", SIGN_COMMAND, str(key)])
    assert other.fingerprint == signer.fingerprint


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
def test_a_python_function_signs(tmp_path: Path, algorithm: str) -> None:
    pair = keys.load_or_make(tmp_path, algorithm=algorithm)

    def sign(message: bytes) -> bytes:
        key = pair.key
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(message, ec.ECDSA({"es384": hashes.SHA384(), "es512": hashes.SHA512()}.get(algorithm, hashes.SHA256())))  # fmt: skip
        if isinstance(key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
            return key.sign(message, pss, hashes.SHA256())
        return key.sign(message)

    file = signed_by(make_external_signer(sign, pair.chain))
    verdict = verify_bytes(file.data, "x", VerifyOptions(search="aligned"), load_trust(None, tmp_path))
    assert (verdict.integrity, verdict.trust) == ("intact", "own")


def test_external_signers_are_checked_before_the_sweep(tmp_path: Path) -> None:
    chain, key, _ = write_pair(tmp_path, Profile(), other_key=True)
    with pytest.raises(InputError, match="does not verify"):
        open_signer(certificate=chain, command=["openssl", "dgst", "-sha256", "-sign", str(key)])
    with pytest.raises(InputError, match="failed"):
        open_signer(certificate=chain, command=["false"])
    with pytest.raises(InputError, match="can't run"):
        open_signer(certificate=chain, command=["/no/such/program"])
    with pytest.raises(InputError, match="no ECDSA signature"):
        open_signer(certificate=chain, command=["echo", "hello"])
    with pytest.raises(InputError, match="unknown external signer"):
        open_signer(certificate=chain, plugin="vault")
    with pytest.raises(InputError, match="go together"):
        open_signer(certificate=chain, private_key=key, command=["true"])


def test_an_rsa_signer_with_another_salt_is_refused(tmp_path: Path) -> None:
    pair = keys.load_or_make(tmp_path, algorithm="ps256")
    assert isinstance(pair.key, rsa.RSAPrivateKey)
    key, longest = pair.key, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    with pytest.raises(InputError, match="does not verify"):
        make_external_signer(lambda message: key.sign(message, longest, hashes.SHA256()), pair.chain)


def test_an_external_signer_that_returns_nonsense_later_is_noticed(tmp_path: Path) -> None:
    pair = keys.load_or_make(tmp_path)
    assert isinstance(pair.key, ec.EllipticCurvePrivateKey)
    key, calls = pair.key, []

    def sign(message: bytes) -> bytes:
        calls.append(message)
        return key.sign(message, ec.ECDSA(hashes.SHA256())) if len(calls) < 3 else bytes(range(64))

    signer = make_external_signer(sign, pair.chain)
    with pytest.raises(ProvenanceError, match="does not verify"):
        signed_by(signer)


def test_a_policy_without_an_authority_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none is named"):
        open_signer(tmp_path, timestamp_policy="queue")


def test_a_chain_that_ran_out_above_the_leaf_is_refused(tmp_path: Path) -> None:
    chain, _, root = write_pair(tmp_path, Profile(ends=dt.timedelta(days=900)))
    whole = keys.load_chain(chain) + keys.load_chain(root)  # the root's 400 days end first
    certificates.check_chain(whole, where="chain")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=401)
    with pytest.raises(InputError, match="'root' is valid from"):
        certificates.check_chain(whole, where="chain", now=later)


def test_an_external_signer_that_fails_later_says_why(tmp_path: Path) -> None:
    pair = keys.load_or_make(tmp_path)
    calls: list[int] = []

    def sign(message: bytes) -> bytes:
        calls.append(len(message))
        if len(calls) > 2:
            raise RuntimeError("the HSM is asleep")
        assert isinstance(pair.key, ec.EllipticCurvePrivateKey)
        return pair.key.sign(message, ec.ECDSA(hashes.SHA256()))

    signer = make_external_signer(sign, pair.chain)
    with pytest.raises(ProvenanceError, match="asleep"):
        signed_by(signer)


def test_a_listed_camera_is_believed_until_something_speaks_against_it(tmp_path: Path) -> None:
    chain, key, root = write_pair(tmp_path, Profile())
    camera = open_signer(certificate=chain, private_key=key)
    trust, options = load_trust(root, tmp_path), VerifyOptions(search="aligned")
    settings = {"source_type": "digitalCapture", "recipe": {}, "generator": "Camera", "watermark": None}
    photo = mark_image(picture(), request(**settings), camera)
    verdict = verify_bytes(photo.data, "x", options, trust)
    assert (verdict.verdict, verdict.confidence) == ("captured", "proven")
    drawn = mark_image(picture(), request(credentials=False)).image
    fraud = mark_image(drawn, request(**settings), camera)
    assert verify_bytes(fraud.data, "x", options, trust).verdict == "conflict"
    edited = request(
        parents=(photo.data,), source_type="compositeWithTrainedAlgorithmicMedia", watermark=None
    )
    child = mark_image(picture(1), edited, camera)
    assert verify_bytes(child.data, "x", options, trust).verdict == "ai-edited"
