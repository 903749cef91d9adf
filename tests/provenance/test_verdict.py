from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.provenance.credentials.reading import CredentialReport, ManifestReport
from nonesuch.provenance.evidence import Confidence, Evidence, Says
from nonesuch.provenance.verifying.verdict import Answer, contradiction, credential_evidence, weigh

CREDENTIAL, INGREDIENT, XMP, MARK = "credential", "ingredient", "metadata:xmp", "watermark"


def item(kind: str, says: Says, confidence: Confidence) -> Evidence:
    return Evidence(kind, says, confidence, "")


CASES = [
    # parts, well supported, beside the whole, merely claimed or supported no better
    (
        [item(CREDENTIAL, "ai-edited", "proven"), item(XMP, "ai-generated", "claimed")],
        ("ai-edited", "proven"),
    ),
    (
        [item(CREDENTIAL, "ai-edited", "strong"), item(MARK, "ai-generated", "strong")],
        ("ai-generated", "strong"),
    ),
    # an ingredient that no signature vouches for is a claim beside a camera's credential
    (
        [item(CREDENTIAL, "captured", "proven"), item(INGREDIENT, "ai-generated", "claimed")],
        ("conflict", "claimed"),
    ),
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


# What can be added to a file without its signers: another catalog, an import, sidecars, metadata, a loose manifest.
_ADDED = st.one_of(
    st.builds(
        Evidence,
        st.sampled_from([XMP, "metadata:exif", MARK, "catalog"]),
        st.sampled_from(get_args(Says)),
        st.sampled_from(["claimed", "strong"]),
        st.just(""),
    ),
    st.builds(
        Evidence, st.just(INGREDIENT), st.sampled_from(get_args(Says)), st.just("claimed"), st.just("")
    ),
    st.builds(
        Evidence,
        st.sampled_from([CREDENTIAL, INGREDIENT, XMP, MARK, "catalog"]),
        st.just("nothing"),
        st.just("none"),
        st.just(""),
    ),
)
_GRADES = get_args(Confidence)
_BY_MODEL = ("ai-generated", "ai-edited")


@given(_ANY, st.lists(_ADDED, max_size=4))
def test_what_is_laid_beside_a_file_never_lowers_its_verdict(
    evidence: list[Evidence], added: list[Evidence]
) -> None:
    (before, sure), (after, surer) = weigh(evidence), weigh([*evidence, *added])
    if after == "conflict":
        return
    assert before != "conflict"
    assert _GRADES.index(surer) >= _GRADES.index(sure)
    assert before not in _BY_MODEL or after in _BY_MODEL
    assert before != "captured" or after == "captured"
    if (before, after) == ("ai-generated", "ai-edited"):
        assert surer != sure  # only for what is better supported


@given(_ANY)
def test_a_conflict_between_camera_and_model_names_its_reason(evidence: list[Evidence]) -> None:
    found = contradiction(evidence)
    if weigh(evidence)[0] == "conflict" and not any(one.says == "conflict" for one in evidence):
        assert found is not None
        assert found.confidence == weigh(evidence)[1]
        assert all(one.kind in found.detail for one in evidence if one.says in _BY_MODEL)
    if found is not None:
        assert weigh([*evidence, found])[0] == "conflict"


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
