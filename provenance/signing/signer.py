"""The signer: turns encoded bytes and a manifest definition into a file with a credential.

One Signer serves all threads of a process (measured: c2pa-python releases the interpreter lock).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from nonesuch.foundation.errors import CertificateTimeError, InputError, ProvenanceError
from nonesuch.provenance import vocabulary
from nonesuch.provenance.credentials import certificates
from nonesuch.provenance.marking import encoding
from nonesuch.provenance.request import SignerChoice, TimestampPolicy
from nonesuch.provenance.signing import external, keys
from nonesuch.provenance.signing.timestamps import Authority

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
# A c2pa.time-stamp assertion for the manifest below the update.
_STAMPING = {"auto_timestamp_assertion": {"enabled": True, "skip_existing": True, "fetch_scope": "parent"}}


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
    not_before: datetime
    not_after: datetime
    fingerprint: str  # SHA-256 of the signing certificate, hex
    timestamp_url: str | None
    timestamp_policy: TimestampPolicy
    _native: Any = field(repr=False)
    _timed: Any = field(repr=False)  # the native signer that asks the timestamp authority; None without one
    _authority: Authority = field(repr=False)
    _external_errors: list[Exception] = field(
        repr=False
    )  # why an external signer failed: the SDK keeps it quiet

    def sign(
        self, data: bytes, mime: str, manifest: dict[str, Any], ingredients: Sequence[Ingredient] = ()
    ) -> SignedFile:
        """Sign an encoded image of type `mime`.

        Raises ProvenanceError when the SDK or the authority refuses, CertificateTimeError when it does because
        the certificate is not valid now.
        """
        work = (data, mime, manifest, ingredients)
        if self._timed is None or (self.timestamp_policy != "fail" and self._authority.rests()):
            return self._sign(self._native, *work)
        try:
            return self._sign(self._timed, *work)
        except ProvenanceError:
            if self.timestamp_policy == "fail":
                raise
            # Whatever is not the authority's fault fails here as well.
            untimed = self._sign(self._native, *work)
            self._authority.failed()
            return untimed

    def stamp(self, data: bytes, mime: str, manifest: dict[str, Any]) -> SignedFile:
        """Add an update manifest with timestamps for itself and for the manifest that was the active one.

        See nonesuch.provenance.signing.stamping, which checks before and after. Raises ProvenanceError when there is no
        authority or it refuses.
        """
        if self._timed is None:
            raise ProvenanceError("a late timestamp needs a timestamp authority", hint="Name its address.")
        return self._sign(self._timed, data, mime, manifest, (), update=True)

    def _sign(
        self,
        native: Any,
        data: bytes,
        mime: str,
        manifest: dict[str, Any],
        ingredients: Sequence[Ingredient],
        *,
        update: bool = False,
    ) -> SignedFile:
        import c2pa

        try:
            with c2pa.Builder(manifest, context=_context(update)) as builder:
                if update:
                    builder.set_intent(c2pa.C2paBuilderIntent.UPDATE)
                for ingredient in ingredients:
                    builder.add_ingredient(
                        ingredient.definition, ingredient.mime, io.BytesIO(ingredient.data)
                    )
                target = io.BytesIO()
                store = builder.sign(native, mime, io.BytesIO(data), target)
        except c2pa.C2paError as error:
            if not self.not_before <= (now := datetime.now(UTC)) <= self.not_after:
                raise CertificateTimeError(
                    f"the signing certificate is valid from {self.not_before:%Y-%m-%d %H:%M} to {self.not_after:%Y-%m-%d %H:%M} "
                    f"UTC, and this machine's clock says {now:%Y-%m-%d %H:%M}",
                    hint="Set the clock, renew the certificate or run `nonesuch keys rotate`; then run it again to continue.",
                ) from error
            timed = native is self._timed
            reason = self._external_errors.pop() if self._external_errors else error
            raise ProvenanceError(
                f"signing failed ({reason})",
                hint=f"Is the timestamp authority {self.timestamp_url} up?" if timed else None,
            ) from error
        return SignedFile(target.getvalue(), store, timestamped=native is self._timed)


def open_signer(
    home: Path | None = None,
    *,
    certificate: Path | None = None,
    private_key: Path | None = None,
    algorithm: str | None = None,
    command: Sequence[str] | None = None,
    plugin: str | None = None,
    timestamp_url: str | None = None,
    timestamp_policy: TimestampPolicy = "fail",
) -> Signer:
    """A signer with the local authority under `home` (made on first use), or with one's own certificate.

    `certificate` is a PEM chain with the signing certificate first; its key is `private_key`, an unencrypted
    PEM file, or is used by `command` (see nonesuch.provenance.signing.external) or by the registered `plugin`.
    `algorithm` (default es256, or what the certificate implies) is one of keys.ALGORITHMS.
    `timestamp_url` names an RFC 3161 authority; when it can't be reached, `timestamp_policy` "fail" raises
    ProvenanceError; "queue" and "continue" sign without a timestamp (SignedFile.timestamped is False) and ask
    again a minute later. What "queue" left behind is stamped later, see nonesuch.provenance.signing.stamping.
    Raises InputError, before anything is signed, for a certificate that validators would refuse.
    """
    holders = [holder for holder in (private_key, command, plugin) if holder is not None]
    if (certificate is None) != (not holders) or len(holders) > 1:
        raise InputError(
            "a certificate and its key go together",
            hint="Give a certificate with one of: a private key's path, a signing command, a plug-in.",
        )
    if timestamp_url is None and timestamp_policy != "fail":
        raise InputError(
            f"the timestamp policy {timestamp_policy!r} needs a timestamp authority, and none is named",
            hint="Name its address, or leave the policy out.",
        )
    timestamps = (timestamp_url, timestamp_policy)
    if certificate is None:
        return make_signer(keys.load_or_make(home, algorithm=algorithm or "es256"), algorithm, *timestamps)
    if private_key is not None:
        return make_signer(keys.load_pair(certificate, private_key), algorithm, *timestamps)
    if command is not None:
        sign, where = external.by_command(command), f"{certificate}, {command[0]}"
    else:
        sign, where = external.SIGNERS.get(str(plugin))(), f"{certificate}, {plugin}"
    return make_external_signer(sign, keys.load_chain(certificate), algorithm, *timestamps, where=where)


def open_chosen(choice: SignerChoice, home: Path | None = None) -> Signer:
    """The signer that a choice describes. Raises InputError as open_signer does."""
    return open_signer(
        home,
        certificate=choice.certificate,
        private_key=choice.private_key,
        algorithm=choice.algorithm,
        command=choice.command or None,
        plugin=choice.plugin,
        timestamp_url=choice.timestamp_url,
        timestamp_policy=choice.timestamp_policy,
    )


def make_signer(
    pair: keys.KeyPair,
    algorithm: str | None = None,
    timestamp_url: str | None = None,
    timestamp_policy: TimestampPolicy = "fail",
) -> Signer:
    """A checked signer from a pair in memory. Raises InputError with the reason when the pair is unfit."""
    wanted = _algorithm(pair.leaf, algorithm, pair.where)
    certificates.check_pair(pair)

    def native(url: str | None) -> Any:
        import c2pa

        info = c2pa.C2paSignerInfo(wanted, pair.chain_pem().encode(), pair.key_pem(), url)
        return c2pa.Signer.from_info(info)

    return _assemble(native, pair.leaf, wanted, timestamp_url, timestamp_policy, [], pair.where)


def make_external_signer(
    sign: external.SignBytes,
    chain: Sequence[x509.Certificate],
    algorithm: str | None = None,
    timestamp_url: str | None = None,
    timestamp_policy: TimestampPolicy = "fail",
    *,
    where: str = "external signer",
) -> Signer:
    """A checked signer whose key is elsewhere; `sign` is called from any thread. Raises InputError when unfit."""
    wanted = _algorithm(chain[0], algorithm, where)
    certificates.check_chain(chain, where=where)
    external.check_external(sign, chain[0], wanted, where=where)
    errors: list[Exception] = []

    def callback(message: bytes) -> bytes:
        try:
            return external.checked_signature(sign, message, chain[0], wanted)
        except Exception as error:  # the SDK would only say that signing failed
            errors.append(error)
            return b""

    def native(url: str | None) -> Any:
        import c2pa

        kind = getattr(c2pa.C2paSigningAlg, wanted.upper())
        return c2pa.Signer.from_callback(callback, kind, keys.pem_of(chain), url)

    return _assemble(native, chain[0], wanted, timestamp_url, timestamp_policy, errors, where)


def _algorithm(leaf: x509.Certificate, wanted: str | None, where: str) -> str:
    implied = certificates.algorithm_of(leaf, where=where)
    if wanted not in (None, implied):
        raise InputError(
            f"the key is for {implied}, not {wanted}", where=where, hint="Leave the algorithm out."
        )
    return implied


def _assemble(
    native: Callable[[str | None], Any],
    leaf: x509.Certificate,
    algorithm: str,
    timestamp_url: str | None,
    timestamp_policy: TimestampPolicy,
    errors: list[Exception],
    where: str,
) -> Signer:
    if timestamp_url is not None and not timestamp_url.startswith(("http://", "https://")):
        raise InputError(f"{timestamp_url!r} is not an http(s) address", where="timestamp authority")
    import c2pa

    try:
        signer = Signer(
            algorithm=algorithm,
            subject=certificates.name_of(leaf),
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
            timestamp_url=timestamp_url,
            timestamp_policy=timestamp_policy,
            _native=native(None),
            _timed=native(timestamp_url) if timestamp_url else None,
            _authority=Authority(),
            _external_errors=errors,
        )
    except c2pa.C2paError as error:
        raise InputError(f"the SDK refuses the certificate ({error})", where=where) from error
    check_signer(signer)
    return signer


@cache
def _context(update: bool) -> Any:
    import c2pa

    builder = _BUILD_SETTINGS["builder"] | (_STAMPING if update else {})
    return c2pa.Context.from_dict({**_BUILD_SETTINGS, "builder": builder})


_CREATED = {"action": "c2pa.created", "digitalSourceType": vocabulary.C2PA_BASE + "empty"}
_SMALLEST: dict[str, Any] = {  # a manifest for trying a signer out
    "claim_generator_info": [{"name": "nonesuch"}],
    "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [_CREATED]}}],
}


def check_signer(signer: Signer) -> None:
    """Sign a one-pixel image, without a timestamp: whatever the SDK refuses is refused here, not mid-sweep.

    Raises InputError with the SDK's reason.
    """
    try:
        signer._sign(signer._native, encoding.one_pixel_png(), "image/png", _SMALLEST, ())
    except ProvenanceError as error:
        raise InputError(f"the certificate can't sign: {error.message}", where=signer.subject) from error


def check_authority(signer: Signer) -> None:
    """Ask the timestamp authority once. Raises ProvenanceError when it does not answer, or there is none."""
    if signer._timed is None:
        raise ProvenanceError("there is no timestamp authority", hint="Name its address.")
    signer._sign(signer._timed, encoding.one_pixel_png(), "image/png", _SMALLEST, ())
