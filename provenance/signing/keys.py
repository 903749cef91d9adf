"""Private keys and certificates on disk: the local authority made on first use, and a user's own by path.

The local authority lies in `<config>/keys` (folder 0700): `authority.pem` and `signer.pem` each hold one
private key and its certificate (0600, so that the pair is replaced in one rename), `anchors/` holds the
public certificates of every authority this user has had, so that rotation never orphans older images.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nonesuch.foundation.errors import InputError, ProvenanceError
from nonesuch.foundation.files import atomic_write, config_dir, storage_error

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

AUTHORITY_YEARS = 20
SIGNER_DAYS = 730  # without a timestamp a signature reads "expired" from then on
RENEW_DAYS = 90  # the local signer is renewed on use when fewer days are left

_MAKE_KEY: dict[str, Callable[[], PrivateKey]] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ps256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=3072),
}
ALGORITHMS = tuple(_MAKE_KEY)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key with the certificate chain that vouches for it."""

    key: PrivateKey
    chain: tuple[x509.Certificate, ...]  # leaf first; the root may be missing
    where: str  # the files it came from, for messages

    @property
    def leaf(self) -> x509.Certificate:
        return self.chain[0]

    def chain_pem(self) -> str:
        """The certificates as PEM text, leaf first."""
        return pem_of(self.chain)

    def key_pem(self) -> bytes:
        """The private key as unencrypted PKCS #8 PEM. Never log it."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def pem_of(chain: Iterable[x509.Certificate]) -> str:
    """Certificates as PEM text, in their order."""
    return "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in chain)


def keys_dir(home: Path | None = None) -> Path:
    """The folder of the local authority under `home` (default: the user's configuration folder)."""
    return (home if home is not None else config_dir()) / "keys"


def load_or_make(home: Path | None = None, *, algorithm: str = "es256") -> KeyPair:
    """The local signer; makes the authority on first use and renews a signer that runs out soon.

    Raises InputError for an unknown algorithm and for key files that others may read.
    """
    folder = keys_dir(home)
    if not (folder / "authority.pem").exists():
        init_keys(home, algorithm=algorithm)
    authority = _read_pair(folder / "authority.pem")
    path = folder / f"signer-{_known(algorithm)}.pem"
    signer = _read_pair(path) if path.exists() else None
    if signer is None or _days_left(signer.leaf) < RENEW_DAYS or not _issued_by(signer, authority):
        _write_pair(path, _make_signer(authority, algorithm))
        signer = _read_pair(path)
    return signer


def init_keys(home: Path | None = None, *, algorithm: str = "es256") -> Path:
    """Make the authority and a first signer; returns their folder.

    The folder appears in one rename, so that two processes that start together end with one authority.
    An authority that is there already stays.
    """
    folder = keys_dir(home)
    _known(algorithm)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".keys-", dir=folder.parent))  # mkdtemp makes it 0700
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise storage_error(error, folder.parent) from error
        raise InputError(
            f"no keys can be made there ({error.strerror or error})",
            where=str(folder.parent),
            hint="Set NONESUCH_HOME to a folder that may be written.",
        ) from error
    try:
        authority = _make_authority("es256")
        _write_authority(draft, authority)
        _write_pair(draft / f"signer-{algorithm}.pem", _make_signer(authority, algorithm))
        try:
            os.rename(draft, folder)
        except OSError as error:
            if (folder / "authority.pem").exists():
                return folder  # another process was first
            raise ProvenanceError(
                "is there, but has no authority.pem",
                where=str(folder),
                hint="Make a new authority beside its old anchors: nonesuch keys rotate --authority",
            ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def rotate_keys(home: Path | None = None, *, algorithm: str = "es256", authority: bool = False) -> KeyPair:
    """Replace the local signer, and with `authority` the root too; returns the new signer.

    Old authorities stay among the anchors: images signed under them still count as one's own.
    """
    folder = keys_dir(home)
    if not folder.is_dir() or not (authority or (folder / "authority.pem").exists()):
        return load_or_make(home, algorithm=algorithm)
    if authority:
        _write_authority(folder, _make_authority("es256"))
        for stale in folder.glob("signer-*.pem"):
            stale.unlink()
    root = _read_pair(folder / "authority.pem")
    _write_pair(folder / f"signer-{_known(algorithm)}.pem", _make_signer(root, algorithm))
    return _read_pair(folder / f"signer-{algorithm}.pem")


def own_anchors(home: Path | None = None) -> str:
    """PEM text of every certificate that this user trusts as their own; empty when there is none.

    The local authorities, and whatever else the user has put into `keys/anchors/*.pem`.
    """
    folder = keys_dir(home) / "anchors"
    if not folder.is_dir():
        return ""
    return "".join(path.read_text("ascii", "ignore").strip() + "\n" for path in sorted(folder.glob("*.pem")))


def load_pair(certificate: Path, private_key: Path) -> KeyPair:
    """A user's own certificate chain (PEM, leaf first) and unencrypted private key (PEM).

    Raises InputError when a file is missing, unreadable, encrypted, or a key that others may read.
    """
    refuse_loose_mode(private_key)
    key = _parse_key(_read(private_key), private_key)
    return KeyPair(key, load_chain(certificate), where=f"{certificate}, {private_key}")


def load_chain(certificate: Path) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, in its order. Raises InputError when there are none."""
    try:
        return tuple(x509.load_pem_x509_certificates(_read(certificate)))
    except ValueError as error:
        raise InputError(
            f"holds no readable PEM certificate ({error})",
            where=str(certificate),
            hint="Give the chain as PEM, the signing certificate first.",
        ) from error


def _known(algorithm: str) -> str:
    if algorithm not in _MAKE_KEY:
        raise InputError(f"unknown signing algorithm {algorithm!r}", hint=f"Known: {', '.join(ALGORITHMS)}.")
    return algorithm


def _make_authority(algorithm: str) -> KeyPair:
    key = _MAKE_KEY[algorithm]()
    # The random part keeps two authorities of one user apart; nothing here names the person.
    name = _name(f"nonesuch local authority {os.urandom(3).hex()}")
    builder = _certificate(name, name, key, dt.timedelta(days=365 * AUTHORITY_YEARS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return KeyPair(key, (builder.sign(key, _digest(key)),), where="local authority")


def _make_signer(authority: KeyPair, algorithm: str) -> KeyPair:
    key = _MAKE_KEY[_known(algorithm)]()
    root = authority.leaf
    builder = _certificate(root.subject, _name("nonesuch local signer"), key, dt.timedelta(days=SIGNER_DAYS))
    identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    )
    leaf = builder.sign(authority.key, _digest(authority.key))
    return KeyPair(key, (leaf, root), where="local signer")


def _certificate(
    issuer: x509.Name, subject: x509.Name, key: PrivateKey, lasts: dt.timedelta
) -> x509.CertificateBuilder:
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)  # clocks of other machines may lag
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common: str) -> x509.Name:
    # c2pa-rs wants an organisation: it becomes the "issuer" that validators show.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "nonesuch"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _digest(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _write_authority(folder: Path, authority: KeyPair) -> None:
    public = folder / "anchors" / f"authority-{authority.leaf.serial_number:040x}.pem"
    # The public half goes first: a crash in between leaves an anchor too many, never one too few.
    atomic_write(public, authority.chain_pem().encode())
    _write_pair(folder / "authority.pem", authority)


def _write_pair(path: Path, pair: KeyPair) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    atomic_write(path, pair.key_pem() + pair.chain_pem().encode(), mode=0o600)


def _read_pair(path: Path) -> KeyPair:
    refuse_loose_mode(path.parent)
    refuse_loose_mode(path)
    data = _read(path)
    return KeyPair(_parse_key(data, path), load_chain(path), where=str(path))


def _parse_key(data: bytes, path: Path) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError as error:
        raise InputError(
            "the private key is encrypted",
            where=str(path),
            hint="Give an unencrypted PEM key with mode 0600, or sign through an external command.",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError("holds no readable PEM private key", where=str(path)) from error
    if not isinstance(key, PrivateKey):
        raise InputError(
            f"{type(key).__name__} can't sign credentials",
            where=str(path),
            hint="Use an EC (P-256, P-384, P-521), Ed25519 or RSA key.",
        )
    return key


def refuse_loose_mode(path: Path) -> None:
    """Raise InputError for a secret's file or folder that other users may read, and for one that is missing."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise InputError(error.strerror or str(error), where=str(path)) from error
    if mode & 0o077:
        wanted = "700" if path.is_dir() else "600"
        raise InputError(
            f"its mode {mode:04o} lets other users at the key",
            where=str(path),
            hint=f"Run: chmod {wanted} {path}",
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(error.strerror or str(error), where=str(path)) from error


def _days_left(certificate: x509.Certificate) -> float:
    return (certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)).total_seconds() / 86400


def _issued_by(signer: KeyPair, authority: KeyPair) -> bool:
    try:
        signer.leaf.verify_directly_issued_by(authority.leaf)
    except Exception:  # cryptography raises ValueError, TypeError or InvalidSignature
        return False
    return True
