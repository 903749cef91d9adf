"""The signer: it turns encoded bytes and a manifest definition into a file with a credential.

One Signer serves all threads of a process (measured: c2pa-python releases the interpreter lock).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives import hashes

from foundation.errors import InputError, ProvenanceError
from provenance import certificates, keys, vocabulary

TimestampPolicy = Literal["fail", "continue"]

_BUILD_SETTINGS: dict[str, Any] = {
    # Thumbnails cost 15 times the signature; verifying after signing costs as much again.
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {
        "verify_after_sign": False,
        "verify_after_reading": True,
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
    },
    "trust": {"trust_config": "\n".join(certificates.SIGNING_USES)},
}


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A file that the signed image was made from."""

    definition: dict[str, Any]  # title, relationship, label
    mime: str
    data: bytes


@dataclass(frozen=True, slots=True)
class SignedFile:
    """What signing returns."""

    data: bytes  # the file with its credential
    manifest: bytes  # the manifest store as it stands in the file
    timestamped: bool


@dataclass(frozen=True, slots=True)
class Signer:
    """A checked key with its certificates, ready to sign; share it between threads."""

    algorithm: str  # es256, es384, es512, ed25519, ps256
    subject: str  # common name of the signing certificate
    not_after: datetime
    fingerprint: str  # SHA-256 of the signing certificate, hex
    timestamp_url: str | None
    timestamp_policy: TimestampPolicy
    _native: Any = field(repr=False)
    _timed: Any = field(repr=False)  # the native signer that asks the timestamp authority; None without one
    _context: Any = field(repr=False)

    def sign(
        self, data: bytes, mime: str, manifest: dict[str, Any], ingredients: Sequence[Ingredient] = ()
    ) -> SignedFile:
        """Sign an encoded image of type `mime`. Raises ProvenanceError when the SDK refuses it."""
        if self._timed is None:
            return self._sign(self._native, data, mime, manifest, ingredients)
        try:
            return self._sign(self._timed, data, mime, manifest, ingredients)
        except ProvenanceError:
            if self.timestamp_policy == "fail":
                raise
            return self._sign(self._native, data, mime, manifest, ingredients)

    def _sign(
        self,
        native: Any,
        data: bytes,
        mime: str,
        manifest: dict[str, Any],
        ingredients: Sequence[Ingredient],
    ) -> SignedFile:
        import c2pa

        try:
            with c2pa.Builder(manifest, context=self._context) as builder:
                for ingredient in ingredients:
                    builder.add_ingredient(
                        ingredient.definition, ingredient.mime, io.BytesIO(ingredient.data)
                    )
                target = io.BytesIO()
                store = builder.sign(native, mime, io.BytesIO(data), target)
        except c2pa.C2paError as error:
            timed = native is self._timed
            raise ProvenanceError(
                f"signing failed ({error})",
                hint=f"Is the timestamp authority {self.timestamp_url} up?" if timed else None,
            ) from error
        return SignedFile(target.getvalue(), store, timestamped=native is self._timed)


def open_signer(
    home: Path | None = None,
    *,
    certificate: Path | None = None,
    private_key: Path | None = None,
    algorithm: str | None = None,
    timestamp_url: str | None = None,
    timestamp_policy: TimestampPolicy = "fail",
) -> Signer:
    """A signer with the local authority under `home` (made on first use), or with one's own certificate.

    `certificate` is a PEM chain with the signing certificate first, `private_key` an unencrypted PEM key.
    `algorithm` (default es256, or what the given key implies) is one of keys.ALGORITHMS.
    `timestamp_url` names an RFC 3161 authority; when it can't be reached, `timestamp_policy` "fail"
    raises ProvenanceError and "continue" signs without a timestamp (SignedFile.timestamped is False).
    Raises InputError, before anything is signed, for a certificate that validators would refuse.
    """
    if (certificate is None) != (private_key is None):
        raise InputError("a certificate and its private key go together", hint="Give both paths or neither.")
    if certificate is not None and private_key is not None:
        pair = keys.load_pair(certificate, private_key)
    else:
        pair = keys.load_or_make(home, algorithm=algorithm or "es256")
    return make_signer(
        pair, algorithm=algorithm, timestamp_url=timestamp_url, timestamp_policy=timestamp_policy
    )


def make_signer(
    pair: keys.KeyPair,
    *,
    algorithm: str | None = None,
    timestamp_url: str | None = None,
    timestamp_policy: TimestampPolicy = "fail",
) -> Signer:
    """A checked signer from a pair in memory. Raises InputError with the reason when the pair is unfit."""
    implied = certificates.algorithm_of(pair)
    wanted = algorithm or implied
    if wanted[:2] != implied[:2] or (implied != "ps256" and wanted != implied):
        raise InputError(
            f"the key is for {implied}, not {wanted}", where=pair.where, hint="Leave the algorithm out."
        )
    certificates.check_pair(pair)
    if timestamp_url is not None and not timestamp_url.startswith(("http://", "https://")):
        raise InputError(f"{timestamp_url!r} is not an http(s) address", where="timestamp authority")
    import c2pa

    def native(url: str | None) -> Any:
        info = c2pa.C2paSignerInfo(wanted, pair.chain_pem().encode(), pair.key_pem(), url)
        return c2pa.Signer.from_info(info)

    try:
        signer = Signer(
            algorithm=wanted,
            subject=certificates.name_of(pair.leaf),
            not_after=pair.leaf.not_valid_after_utc,
            fingerprint=pair.leaf.fingerprint(hashes.SHA256()).hex(),
            timestamp_url=timestamp_url,
            timestamp_policy=timestamp_policy,
            _native=native(None),
            _timed=native(timestamp_url) if timestamp_url else None,
            _context=c2pa.Context.from_dict(_BUILD_SETTINGS),
        )
    except c2pa.C2paError as error:
        raise InputError(f"the SDK refuses the certificate ({error})", where=pair.where) from error
    check_signer(signer)
    return signer


def check_signer(signer: Signer) -> None:
    """Sign a one-pixel picture, without a timestamp: whatever the SDK refuses is refused here, not mid-sweep.

    Raises InputError with the SDK's reason.
    """
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": vocabulary.C2PA_BASE + "empty"}]}
    definition = {
        "claim_generator_info": [{"name": "nonesuch"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": actions}],
    }
    try:
        signer._sign(signer._native, _one_pixel_png(), "image/png", definition, ())
    except ProvenanceError as error:
        raise InputError(f"the certificate can't sign: {error.message}", where=signer.subject) from error


def _one_pixel_png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0\0"))
        + chunk(b"IEND", b"")
    )
