import datetime as dt
import multiprocessing
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from nonesuch.foundation.errors import InputError, ProvenanceError
from nonesuch.provenance.credentials.trustlist import parse_certificates
from nonesuch.provenance.signing import keys


def test_first_use_makes_an_authority_that_only_its_owner_can_read(tmp_path: Path) -> None:
    pair = keys.load_or_make(tmp_path)
    folder = keys.keys_dir(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("authority.pem", "signer-es256.pem"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert keys.load_or_make(tmp_path).leaf == pair.leaf
    assert b"PRIVATE" not in keys.own_anchors(tmp_path).encode()


@pytest.mark.parametrize("name", ["authority.pem", "signer-es256.pem", "."])
def test_keys_that_others_may_read_are_refused(tmp_path: Path, name: str) -> None:
    keys.load_or_make(tmp_path)
    path = keys.keys_dir(tmp_path) / name
    path.chmod(path.stat().st_mode | 0o040)
    with pytest.raises(InputError, match="chmod"):
        keys.load_or_make(tmp_path)


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
def test_local_certificates_have_the_c2pa_profile(tmp_path: Path, algorithm: str) -> None:
    leaf, root = keys.load_or_make(tmp_path, algorithm=algorithm).chain
    leaf.verify_directly_issued_by(root)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_unknown_algorithm_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Known"):
        keys.load_or_make(tmp_path, algorithm="md5")
    assert not keys.keys_dir(tmp_path).exists()


def test_rotation_replaces_the_signer_and_keeps_every_anchor(tmp_path: Path) -> None:
    first = keys.load_or_make(tmp_path)
    second = keys.rotate_keys(tmp_path)
    assert second.leaf != first.leaf
    assert second.chain[1] == first.chain[1]
    third = keys.rotate_keys(tmp_path, authority=True)
    anchors = parse_certificates(keys.own_anchors(tmp_path).encode())
    assert {first.chain[1], third.chain[1]} == set(anchors)


def test_a_signer_that_runs_out_soon_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "SIGNER_DAYS", keys.RENEW_DAYS - 1)
    short = keys.load_or_make(tmp_path)
    monkeypatch.undo()
    renewed = keys.load_or_make(tmp_path)
    assert renewed.leaf != short.leaf
    assert renewed.leaf.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(days=keys.RENEW_DAYS)
    assert renewed.chain[1] == short.chain[1]


def _fingerprint(home: str) -> str:
    return keys.load_or_make(Path(home)).chain[-1].fingerprint(hashes.SHA256()).hex()


@pytest.mark.slow
def test_processes_that_start_together_end_with_one_authority(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        roots = set(pool.map(_fingerprint, [str(tmp_path)] * 6))
    assert len(roots) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["keys"]


def test_a_home_that_can_hold_no_keys_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no keys can be made there"):
        keys.load_or_make(tmp_path / "file")


def test_a_lost_authority_is_replaced_beside_its_anchors(tmp_path: Path) -> None:
    before = keys.load_or_make(tmp_path)
    (tmp_path / "keys" / "authority.pem").unlink()
    (tmp_path / "keys" / "signer-es256.pem").unlink()
    with pytest.raises(ProvenanceError, match=r"has no authority\.pem"):
        keys.load_or_make(tmp_path)
    after = keys.rotate_keys(tmp_path, authority=True)
    assert after.leaf != before.leaf
    assert keys.own_anchors(tmp_path).count("BEGIN CERTIFICATE") == 2


def test_own_files_that_are_not_keys_are_named(tmp_path: Path) -> None:
    certificate, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.write_text("nothing here")
    key.write_text("nothing here")
    key.chmod(0o600)
    with pytest.raises(InputError, match=r"key\.pem"):
        keys.load_pair(certificate, key)
    with pytest.raises(InputError, match=r"missing\.pem"):
        keys.load_pair(certificate, tmp_path / "missing.pem")
