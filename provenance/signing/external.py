"""Signing elsewhere: by a command or a plug-in, so that a key can stay in a KMS, an HSM or a smart card.

A command reads the bytes to sign on stdin and writes the signature to stdout. ECDSA signatures may be DER or the
raw pair of COSE (RFC 9053); both are taken.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from nonesuch.foundation import children
from nonesuch.foundation.errors import InputError, ProvenanceError
from nonesuch.foundation.registry import Registry

SignBytes = Callable[[bytes], bytes]  # the signature over a message; raises for failure

# Plug-ins of other packages, by entry point: each is a factory without arguments of a SignBytes.
SIGNERS: Registry[SignBytes] = Registry("external signer", "signers")

_SECONDS = 60.0
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "es256": hashes.SHA256(),
    "es384": hashes.SHA384(),
    "es512": hashes.SHA512(),
    "ps256": hashes.SHA256(),
}


def by_command(command: Sequence[str], *, seconds: float = _SECONDS) -> SignBytes:
    """A signer that runs `command` (no shell) for each signature. Its errors say what the command said."""

    def sign(message: bytes) -> bytes:
        try:
            done = subprocess.run(
                list(command),
                input=message,
                capture_output=True,
                timeout=seconds,
                env=children.outside_environment(),
            )
        except OSError as error:
            raise ProvenanceError(f"the signing command can't run ({error})", where=command[0]) from error
        except subprocess.TimeoutExpired as error:
            raise ProvenanceError(f"the signing command took over {seconds:g} s", where=command[0]) from error
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()[-300:]
            raise ProvenanceError(
                f"the signing command failed ({done.returncode}): {said or 'it said nothing'}",
                where=command[0],
            )
        return done.stdout

    return sign


def as_cose(signature: bytes, certificate: x509.Certificate) -> bytes:
    """An ECDSA signature as COSE wants it, r and s of fixed length; other signatures as they are."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return signature
    size = (key.curve.key_size + 7) // 8
    if len(signature) == 2 * size:
        return signature
    try:
        r, s = utils.decode_dss_signature(signature)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    except (ValueError, OverflowError) as error:
        raise ProvenanceError(
            f"the external signer returned {len(signature)} bytes that are no ECDSA signature"
        ) from error


def check_external(sign: SignBytes, certificate: x509.Certificate, algorithm: str, *, where: str) -> None:
    """Let it sign a message and verify that with the certificate. Raises InputError when they don't belong together."""
    try:
        checked_signature(
            sign, b"nonesuch checks that this signer belongs to its certificate", certificate, algorithm
        )
    except ProvenanceError as error:
        raise InputError(error.message, where=where, hint=error.hint) from error


def checked_signature(
    sign: SignBytes, message: bytes, certificate: x509.Certificate, algorithm: str
) -> bytes:
    """The signature as COSE wants it. Raises ProvenanceError unless it verifies with the certificate."""
    signature = as_cose(sign(message), certificate)
    try:
        _verify(certificate.public_key(), signature, message, algorithm)
    except (InvalidSignature, TypeError, ValueError) as error:
        raise ProvenanceError(
            f"the external signer's signature does not verify with the certificate ({algorithm})",
            hint="Does the key belong to the certificate, does the signer hash the message itself, and is an RSA "
            "signature PSS with a salt as long as the digest?",
        ) from error
    return signature


def _verify(key: Any, signature: bytes, message: bytes, algorithm: str) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, message)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        half = len(signature) // 2
        pair = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        key.verify(utils.encode_dss_signature(*pair), message, ec.ECDSA(_HASHES[algorithm]))
    elif isinstance(key, rsa.RSAPublicKey):
        digest = _HASHES[algorithm]
        pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)  # RFC 8230
        key.verify(signature, message, pss, digest)
    else:
        raise TypeError(type(key).__name__)
