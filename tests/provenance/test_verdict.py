from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.credentials import CredentialReport, ManifestReport
from provenance.evidence import Confidence, Evidence, Says
from provenance.verdict import Answer, credential_evidence, weigh

CREDENTIAL, INGREDIENT, XMP, MARK = "credential", "ingredient", "metadata:xmp", "watermark"


def item(kind: str, says: Says, confidence: Confidence) -> Evidence:
    return Evidence(kind, says, confidence, "")


CASES = [
    ([], ("no-evidence", "none")),
    ([item(CREDENTIAL, "nothing", "none")], ("no-evidence", "none")),
    ([item(XMP, "ai-generated", "claimed")], ("ai-generated", "claimed")),
    (
        [item(XMP, "ai-generated", "claimed"), item(MARK, "ai-generated", "strong")],
        ("ai-generated", "strong"),
    ),
    ([item(CREDENTIAL, "ai-edited", "proven")], ("ai-edited", "proven")),
    (
        [item(CREDENTIAL, "ai-edited", "proven"), item(INGREDIENT, "ai-generated", "strong")],
        ("ai-generated", "strong"),
    ),
    ([item(CREDENTIAL, "captured", "proven")], ("captured", "proven")),
    ([item(CREDENTIAL, "captured", "strong")], ("no-evidence", "none")),
    ([item(XMP, "captured", "claimed")], ("no-evidence", "none")),
    (
        [item(CREDENTIAL, "ai-edited", "proven"), item(INGREDIENT, "captured", "proven")],
        ("ai-edited", "proven"),
    ),
    ([item(CREDENTIAL, "captured", "proven"), item(XMP, "ai-generated", "claimed")], ("conflict", "claimed")),
    ([item(CREDENTIAL, "captured", "proven"), item(MARK, "ai-generated", "strong")], ("conflict", "strong")),
    (
        [
            item(CREDENTIAL, "ai-edited", "proven"),
            item(INGREDIENT, "captured", "proven"),
            item(XMP, "ai-edited", "claimed"),
        ],
        ("ai-edited", "proven"),
    ),
    ([item(XMP, "captured", "claimed"), item(MARK, "ai-generated", "strong")], ("ai-generated", "strong")),
    ([item("catalog", "conflict", "strong"), item(MARK, "ai-generated", "strong")], ("conflict", "strong")),
]


@pytest.mark.parametrize(("evidence", "expected"), CASES)
def test_the_rules(evidence: list[Evidence], expected: tuple[Answer, Confidence]) -> None:
    assert weigh(evidence) == expected


_ANY = st.lists(
    st.builds(
        Evidence,
        st.sampled_from([CREDENTIAL, INGREDIENT, XMP, MARK, "catalog"]),
        st.sampled_from(get_args(Says)),
        st.sampled_from(["claimed", "strong", "proven"]),
        st.just(""),
    ),
    max_size=6,
)


@given(_ANY, st.randoms())
def test_the_order_of_evidence_does_not_matter(evidence: list[Evidence], random: object) -> None:
    shuffled = evidence[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert weigh(shuffled) == weigh(evidence)


@given(_ANY)
def test_saying_nothing_changes_nothing(evidence: list[Evidence]) -> None:
    assert weigh([*evidence, item(CREDENTIAL, "nothing", "none")]) == weigh(evidence)


@given(_ANY)
def test_an_answer_is_never_surer_than_its_evidence(evidence: list[Evidence]) -> None:
    answer, confidence = weigh(evidence)
    grades = ["none", *(e.confidence for e in evidence)]
    assert confidence in grades
    assert (confidence == "none") == (answer == "no-evidence")
    if answer == "captured":
        assert all(e.says in ("captured", "nothing") for e in evidence)


def test_a_revoked_certificate_is_said() -> None:
    manifest = ManifestReport(
        label="urn:c2pa:1", relationship="active", integrity="intact",
        failures=("signingCredential.ocsp.revoked",), trust="unlisted", time="ok", signed_by="A", signed_at=None,
        generator=None, source_types=("trainedAlgorithmicMedia",), soft_bindings=(), recipe=None,
        path=("urn:c2pa:1",),
    )  # fmt: skip
    (found,) = credential_evidence(CredentialReport("intact", (manifest,), "", None))
    assert (found.says, found.confidence) == ("ai-generated", "strong")
    assert "its issuer has revoked the certificate" in found.detail
