"""Fixtures of the provenance tests: a local authority, a signer, pictures, and one marked file of each format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from provenance_samples import picture, request, schema

from nonesuch.provenance.credentials.trustlist import TrustSet, load_trust
from nonesuch.provenance.marking.drawn_image import MarkedFile, mark_image
from nonesuch.provenance.signing.signer import Signer, open_signer
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.provenance.verifying.verify import VerifyOptions, verify_bytes


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def signer(home: Path) -> Signer:
    return open_signer(home)


@pytest.fixture(scope="session")
def trust(home: Path, signer: Signer) -> TrustSet:
    return load_trust(None, home)


@pytest.fixture(scope="session")
def marked(signer: Signer) -> dict[str, MarkedFile]:
    """One watermarked and signed file of each format."""
    return {
        name: mark_image(picture(), request(format=name, title=f"fox.{name}"), signer)
        for name in ("png", "jpeg", "webp")
    }


@pytest.fixture(scope="session")
def ask(home: Path, trust: TrustSet) -> Callable[..., Verdict]:
    """The verdict on bytes, by someone who trusts this home's authority and searches as pictures stand.

    Every verdict is held against the contract's JSON Schema.
    """
    contract = schema("verdict")

    def ask(data: bytes, **options: object) -> Verdict:
        settings = {"home": home, "search": "aligned", **options}
        verdict = verify_bytes(data, "picture", VerifyOptions(**settings), trust)  # type: ignore[arg-type]
        contract.validate(verdict.to_json())
        return verdict

    return ask
