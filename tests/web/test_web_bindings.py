"""The C2PA soft-binding resolution API, from stripped pictures back to manifests that a C2PA reader accepts."""

from __future__ import annotations

import base64
import io

import httpx
import pytest
from web_samples import PAYLOADS, encoded, picture

from nonesuch.provenance import watermark
from nonesuch.provenance.credentials.reading import read_credentials
from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.request import MarkedFile
from nonesuch.web.repository import FINGERPRINT

pytestmark = pytest.mark.slow


def value(bits: int) -> str:
    return base64.b64encode(f"{bits:016x}".encode()).decode()


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [match["manifestId"] for match in answer.json()["matches"]]


def test_supported_algorithms(client: httpx.Client) -> None:
    assert client.get("/services/supportedAlgorithms").json() == {
        "watermarks": [{"alg": watermark.ALGORITHM}, {"alg": "com.adobe.trustmark.P"}],
        "fingerprints": [{"alg": FINGERPRINT}],
    }


@pytest.mark.parametrize("number", [0, 1])
def test_a_watermark_leads_to_its_manifest(
    client: httpx.Client, marked: dict[int, MarkedFile], number: int
) -> None:
    wanted = [marked[number].manifest_id]
    query = {"alg": watermark.ALGORITHM, "value": value(PAYLOADS[number])}
    assert ids(client.get("/matches/byBinding", params=query)) == wanted
    assert ids(client.post("/matches/byBinding", json=query)) == wanted
    plain = {**query, "value": f"{PAYLOADS[number]:016x}"}  # as the soft-binding assertion itself has it
    assert ids(client.get("/matches/byBinding", params=plain)) == wanted


def test_an_unknown_watermark_leads_nowhere(client: httpx.Client) -> None:
    query = {"alg": watermark.ALGORITHM, "value": value(PAYLOADS[2])}
    assert client.get("/matches/byBinding", params=query).json() == {"matches": []}


def test_a_fingerprint_leads_to_its_manifest(client: httpx.Client, marked: dict[int, MarkedFile]) -> None:
    from nonesuch.catalogs.search.hashes import perceptual_hashes

    phash = perceptual_hashes(marked[0].image)["phash"]
    exact, near = (
        client.get("/matches/byBinding", params={"alg": FINGERPRINT, "value": value(bits)})
        for bits in (phash, phash ^ 0b10100)
    )
    assert ids(exact) == ids(near) == [marked[0].manifest_id]
    assert exact.json()["matches"][0]["similarityScore"] == 100
    assert near.json()["matches"][0]["similarityScore"] == 94


@pytest.mark.parametrize(
    "query",
    [
        {"alg": "com.example.other", "value": value(1)},
        {"alg": watermark.ALGORITHM, "value": "not base64!"},
        {"alg": watermark.ALGORITHM, "value": base64.b64encode(b"too short").decode()},
        {"alg": watermark.ALGORITHM},
        {"alg": watermark.ALGORITHM, "value": value(1), "maxResults": "0"},
    ],
)
def test_bad_queries_are_answered_with_400(client: httpx.Client, query: dict[str, str]) -> None:
    answer = client.get("/matches/byBinding", params=query)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_query_too_long_for_a_url_is_answered_with_414(client: httpx.Client) -> None:
    query = {"alg": watermark.ALGORITHM, "value": "A" * 3000}
    assert client.get("/matches/byBinding", params=query).status_code == 414


def test_a_stripped_picture_leads_back_to_its_manifest(
    client: httpx.Client, marked: dict[int, MarkedFile]
) -> None:
    stripped = encoded(marked[1].image, "JPEG", quality=80)
    for alg in (None, watermark.ALGORITHM, FINGERPRINT):
        answer = client.post(
            "/matches/byContent",
            params={} if alg is None else {"alg": alg},
            content=stripped,
            headers={"Content-Type": "image/jpeg"},
        )
        assert ids(answer) == [marked[1].manifest_id]
    form = client.post("/matches/byContent", files={"file": ("a.jpg", stripped, "image/jpeg")})
    assert ids(form) == [marked[1].manifest_id]


def test_pictures_that_are_not_in_the_catalog_lead_nowhere(
    client: httpx.Client, marked: dict[int, MarkedFile]
) -> None:
    for data in (encoded(picture(55)), encoded(marked[2].image)):
        answer = client.post("/matches/byContent", content=data, headers={"Content-Type": "image/png"})
        assert ids(answer) == []


def test_a_copied_watermark_leads_nowhere(client: httpx.Client) -> None:
    forged = watermark.embed(picture(56), PAYLOADS[0])
    answer = client.post("/matches/byContent", content=encoded(forged), headers={"Content-Type": "image/png"})
    assert ids(answer) == []


def test_a_hint_adds_what_it_leads_to(client: httpx.Client, marked: dict[int, MarkedFile]) -> None:
    hint = {"hintAlg": watermark.ALGORITHM, "hintValue": value(PAYLOADS[0])}
    data, headers = encoded(picture(57)), {"Content-Type": "image/png"}
    assert ids(client.post("/matches/byContent", params=hint, content=data, headers=headers)) == [
        marked[0].manifest_id
    ]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [("audio/mpeg", b"x", 415), ("image/png", b"no picture", 400), ("image/png", b"", 400)],
)
def test_content_that_is_no_image_is_refused(
    client: httpx.Client, kind: str, body: bytes, status: int
) -> None:
    answer = client.post("/matches/byContent", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status


@pytest.mark.parametrize("number", [0, 1])
def test_a_manifest_is_given_out_and_validates_beside_its_file(
    client: httpx.Client, marked: dict[int, MarkedFile], home: object, number: int
) -> None:
    answer = client.get(f"/manifests/{marked[number].manifest_id}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/c2pa"
    assert answer.content == marked[number].manifest


def test_the_active_manifest_alone_is_readable(client: httpx.Client, marked: dict[int, MarkedFile]) -> None:
    import c2pa

    answer = client.get(f"/manifests/{marked[0].manifest_id}", params={"returnActiveManifest": "true"})
    assert answer.status_code == 200
    with c2pa.Reader("image/png", io.BytesIO(marked[0].data), answer.content) as reader:
        assert marked[0].manifest_id in reader.json()


def test_only_the_active_manifest_of_a_longer_store(marked: dict[int, MarkedFile], home: object) -> None:
    from pathlib import Path

    from nonesuch.provenance.credentials.jumbf import signing_chains
    from nonesuch.provenance.marking.drawn_image import mark_image
    from nonesuch.provenance.request import MarkRequest
    from nonesuch.provenance.signing.signer import open_signer
    from nonesuch.web.repository import active_only

    request = MarkRequest(
        watermark_payload=5, recipe={}, title="b.png", generator="g", parents=(marked[0].data,),
        source_type="compositeWithTrainedAlgorithmicMedia",
    )  # fmt: skip
    child = mark_image(picture(3), request, open_signer(Path(str(home))))
    assert child.manifest is not None
    assert set(signing_chains(child.manifest)) == {marked[0].manifest_id, child.manifest_id}
    assert set(signing_chains(active_only(child.manifest))) == {child.manifest_id}
    report = read_credentials(child.data, "image/png", load_trust(), manifest=active_only(child.manifest))
    assert report.active is not None
    assert report.active.label == child.manifest_id


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("urn:c2pa:00000000-0000-0000-0000-000000000000", 404),
        ("x", 400),
        ("urn:c2pa:' OR 1=1 --", 400),
        ("..%2f..%2fetc%2fpasswd", 404),
    ],
)
def test_unknown_and_broken_manifest_ids(client: httpx.Client, name: str, status: int) -> None:
    assert client.get(f"/manifests/{name}").status_code == status
