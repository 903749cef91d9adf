"""What makes a certificate fit for signing credentials, and whether a chain leads to an anchor.

C2PA specification 2.4, section "X.509 certificates"; path building follows RFC 5280 in the little that
applies to a chain that travels with its signature.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from nonesuch.foundation.errors import InputError
from nonesuch.provenance.signing.keys import KeyPair

# emailProtection, documentSigning and C2PA claim signing; the SDK gets the same three.
SIGNING_USES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
_FORBIDDEN_USES = ("2.5.29.37.0",)  # anyExtendedKeyUsage
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_MAX_CHAIN = 8


def algorithm_of(certificate: x509.Certificate, *, where: str) -> str:
    """The C2PA signing algorithm that a certificate's key implies. Raises InputError for keys C2PA doesn't allow."""
    key = certificate.public_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return "ps256"
    raise InputError(
        "the key is of a kind or size that C2PA does not allow",
        where=where,
        hint="Use EC P-256, P-384 or P-521, Ed25519, or RSA with 2048 bits or more.",
    )


def check_pair(pair: KeyPair, *, now: dt.datetime | None = None) -> None:
    """Refuse a pair that would make invalid credentials. Raises InputError naming the first reason."""
    check_chain(pair.chain, where=pair.where, now=now)
    if _public_bytes(pair.leaf) != _spki(pair.key.public_key()):
        raise InputError(
            "the private key does not belong to the certificate",
            where=pair.where,
            hint="The first certificate of the chain must be the one issued for this key.",
        )


def check_chain(chain: Sequence[x509.Certificate], *, where: str, now: dt.datetime | None = None) -> None:
    """Refuse a chain whose first certificate is unfit, or which is out of order. Raises InputError."""
    check_leaf(chain[0], where=where, now=now)
    now = now or dt.datetime.now(dt.UTC)
    for issued, issuer in itertools.pairwise(chain):
        if not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
            raise InputError(
                f"the chain's certificate {name_of(issuer)!r} is valid from {issuer.not_valid_before_utc:%Y-%m-%d} to "
                f"{issuer.not_valid_after_utc:%Y-%m-%d} only",
                where=where,
                hint="Ask the issuer for a chain that is valid now.",
            )
        digest = issued.signature_hash_algorithm
        if digest is not None and digest.name in ("md5", "sha1"):
            raise InputError(
                f"the certificate {name_of(issued)!r} is signed with {digest.name.upper()}, which no validator accepts",
                where=where,
                hint="Ask the issuer for one signed with SHA-256 or better.",
            )
        if not _issued(issued, issuer):
            raise InputError(
                f"the chain is broken: {name_of(issuer)!r} did not issue {name_of(issued)!r}",
                where=where,
                hint="Give the chain in order, the signing certificate first.",
            )


def check_leaf(leaf: x509.Certificate, *, where: str, now: dt.datetime | None = None) -> None:
    """Refuse a signing certificate that validators would refuse. Raises InputError with the reason."""
    now = now or dt.datetime.now(dt.UTC)
    if now > leaf.not_valid_after_utc:
        raise InputError(
            f"the certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d}",
            where=where,
            hint="Renew it, or run: nonesuch keys rotate",
        )
    if now < leaf.not_valid_before_utc:
        raise InputError(
            f"the certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            where=where,
            hint="Check this machine's clock, or use another certificate.",
        )
    reason = _unfit(leaf)
    if reason:
        raise InputError(reason, where=where, hint="Ask the issuer for a certificate for C2PA claim signing.")


def chains_to(chain: Sequence[x509.Certificate], anchors: Iterable[x509.Certificate]) -> bool:
    """Whether the chain's first certificate is an anchor or leads to one, signatures checked.

    Validity dates are not looked at: whether the signature was made in time is a separate answer.
    """
    known = set(anchors)
    if not chain:
        return False
    current, others = chain[0], list(chain[1:])
    for _ in range(_MAX_CHAIN):
        if current in known or any(_issued(current, anchor) for anchor in known):
            return True
        issuer = next((c for c in others if _issued(current, c)), None)
        if issuer is None:
            return False
        others.remove(issuer)
        current = issuer
    return False


def name_of(certificate: x509.Certificate) -> str:
    """The common name of a certificate's subject, else its organisation, else its serial number."""
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        found = certificate.subject.get_attributes_for_oid(kind)
        if found:
            return str(found[0].value)
    return f"{certificate.serial_number:x}"


def _unfit(leaf: x509.Certificate) -> str | None:
    extensions = {extension.oid.dotted_string: extension.value for extension in leaf.extensions}
    constraints = extensions.get("2.5.29.19")
    usage = extensions.get("2.5.29.15")
    purposes = extensions.get("2.5.29.37")
    if isinstance(constraints, x509.BasicConstraints) and constraints.ca:
        return "the certificate is one of an authority; credentials need a certificate that isn't"
    if not isinstance(usage, x509.KeyUsage) or not usage.digital_signature:
        return "the certificate lacks the key usage digitalSignature"
    if usage.key_cert_sign:
        return "the certificate has the key usage keyCertSign, which only authorities may have"
    if not isinstance(purposes, x509.ExtendedKeyUsage):
        return "the certificate has no extended key usage"
    uses = {oid.dotted_string for oid in purposes}
    if uses & set(_FORBIDDEN_USES):
        return "the certificate's extended key usage is anyExtendedKeyUsage, which C2PA forbids"
    if not uses & set(SIGNING_USES):
        return (
            "the certificate's extended key usage is none of emailProtection, documentSigning "
            "and C2PA claim signing"
        )
    if "2.5.29.35" not in extensions:
        return "the certificate lacks an authority key identifier"
    return None


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject or certificate == issuer:
        return False
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # missing extension, unsupported key, wrong signature, malformed extension
        return False
    return True


def _public_bytes(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _spki(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
