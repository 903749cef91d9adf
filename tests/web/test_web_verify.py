"""`POST /api/verify` and the pages, asked over HTTP of a real server in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from web_samples import HOSTILE, encoded, hostile_png, huge_png_header, picture

from nonesuch.provenance.request import MarkedFile
from nonesuch.web.api_models import VerdictBody
from tests.command_line import nonesuch

pytestmark = pytest.mark.slow

KEYS = {
    "path", "verdict", "confidence", "integrity", "trust", "signed_by", "signed_at", "time", "generator",
    "digital_source_type", "watermark", "catalog", "recipe", "evidence", "trust_list", "error",
}  # fmt: skip


def verify(client: httpx.Client, data: bytes, kind: str = "image/png") -> dict[str, object]:
    answer = client.post("/api/verify", content=data, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    said: dict[str, object] = answer.json()
    return said


def test_the_verdict_has_the_keys_of_the_contract(
    client: httpx.Client, marked: dict[int, MarkedFile]
) -> None:
    said = verify(client, marked[0].data)
    assert set(said) == KEYS
    VerdictBody.model_validate(said)
    assert (said["verdict"], said["confidence"], said["integrity"]) == ("ai-generated", "proven", "intact")
    assert said["trust"] == "own"
    assert said["catalog"]["found_by"] == "digest"  # type: ignore[index]


def test_a_form_gives_the_same_verdict_under_the_files_name(
    client: httpx.Client, marked: dict[int, MarkedFile]
) -> None:
    answer = client.post("/api/verify", files={"file": ("dir/füchse.png", marked[0].data, "image/png")})
    assert answer.status_code == 200
    assert answer.json() == {**verify(client, marked[0].data), "path": "füchse.png"}


def test_the_server_agrees_with_the_command_line(
    client: httpx.Client,
    out: Path,
    home: Path,
    marked: dict[int, MarkedFile],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stripped = encoded(marked[0].image, "JPEG", quality=85)
    (tmp_path / "a.jpg").write_bytes(stripped)
    monkeypatch.setenv("NONESUCH_HOME", str(home))
    told = nonesuch("verify", tmp_path / "a.jpg", "--catalog", out, "--json")
    assert {**json.loads(told.stdout), "path": "upload"} == verify(client, stripped, "image/jpeg")


def test_a_picture_that_was_changed_is_not_intact(
    client: httpx.Client, marked: dict[int, MarkedFile]
) -> None:
    data = bytearray(marked[0].data)
    data[-60] ^= 0xFF
    said = verify(client, bytes(data))
    assert said["integrity"] != "intact"


def test_a_picture_without_marks_has_no_evidence(client: httpx.Client) -> None:
    said = verify(client, encoded(picture(77)))
    assert (said["verdict"], said["confidence"], said["integrity"]) == ("no-evidence", "none", "unsigned")


@pytest.mark.parametrize(
    "data", [b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0broken", b"<svg/>", b"\0" * 4096]
)
def test_what_is_no_picture_gets_a_verdict_with_an_error(client: httpx.Client, data: bytes) -> None:
    said = verify(client, data, "application/octet-stream")
    assert set(said) == KEYS
    assert said["verdict"] == "no-evidence"
    assert said["error"]


def test_too_many_pixels_are_refused_before_decoding(client: httpx.Client) -> None:
    answer = client.post("/api/verify", content=huge_png_header(60_000, 60_000))
    assert answer.status_code == 413
    assert "60000×60000" in answer.json()["error"]


def test_formats_that_run_programs_are_not_opened(client: httpx.Client) -> None:
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    told = client.post("/api/verify", content=page).json()
    assert told["verdict"] == "no-evidence"
    assert "not an image of a known format" in told["error"]


def test_too_many_bytes_are_refused_by_what_the_header_says(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=60) as raw:
        raw.sendall(
            b"POST /api/verify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Content-Length: 68157440\r\nExpect: 100-continue\r\n\r\n"
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "image/png"}, b"", 400),
        ({"Content-Type": "image/png", "Content-Encoding": "gzip"}, b"x", 415),
        ({"Content-Type": "multipart/form-data"}, b"x", 400),
        ({"Content-Type": "multipart/form-data; boundary=a"}, b"--a\r\nno end", 400),
        ({"Content-Type": "multipart/form-data; boundary=a"}, b"--a--\r\n", 400),
    ],
)
def test_broken_uploads_are_refused_with_a_reason(
    client: httpx.Client, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = client.post("/api/verify", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> _Elements:
    elements = _Elements()
    elements.feed(html)
    return elements


@pytest.mark.parametrize("path", ["/", "/verdict"])
def test_hostile_metadata_is_shown_as_text(client: httpx.Client, path: str) -> None:
    name = 'x"><script>alert(1)</script>.png'
    answer = client.post(path, files={"file": (name, hostile_png(), "image/png")})
    assert answer.status_code == 200
    page = parsed(answer.text)
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert all(set(s) == {"type", "src"} and s["src"] == "/static/verify.js" for s in scripts)
    assert not [tag for tag, a in page.tags if any(key.startswith("on") for key in a) or a.get("src") == "x"]
    assert '<script>document.title="owned"</script>' in page.text  # it was there to be escaped
    assert "\u202e" not in answer.text
    assert "Claimed to be AI-generated" in page.text


def test_hostile_metadata_stays_data_in_the_api(client: httpx.Client) -> None:
    answer = client.post("/api/verify", content=hostile_png())
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert HOSTILE.split("\u202e")[0] in answer.json()["recipe"]["prompt"]


def test_the_page_speaks_of_limits_and_never_of_real(
    client: httpx.Client, marked: dict[int, MarkedFile]
) -> None:
    for data in (marked[0].data, encoded(picture(78)), b"nothing"):
        page = parsed(client.post("/", files={"file": ("a.png", data)}).text)
        text = " ".join(page.text.split())
        assert "What it does not mean" in text
        words = {word.strip(".,:;!?()\"'").lower() for word in text.split()}
        assert not words & {"real", "genuine", "authentic"}


def test_a_refused_upload_is_told_on_the_page(client: httpx.Client) -> None:
    answer = client.post("/verdict", files={"file": ("a.png", huge_png_header(60_000, 60_000))})
    assert answer.status_code == 413
    assert "60000×60000" in answer.text


def test_every_control_has_a_name(client: httpx.Client) -> None:
    page = parsed(client.get("/").text)
    labelled = {a.get("for") for tag, a in page.tags if tag == "label"}
    inputs = [a for tag, a in page.tags if tag == "input"]
    assert inputs
    assert all(a["id"] in labelled for a in inputs)
    assert all("alt" in a for tag, a in page.tags if tag == "img")
    assert ("html", {"lang": "en"}) in page.tags
    assert [tag for tag, _ in page.tags].count("h1") == 1


@pytest.mark.parametrize("path", ["/", "/api", "/openapi.json", "/static/site.css", "/static/verify.js"])
def test_pages_name_no_other_host_and_forbid_asking_one(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers
    for _, attributes in parsed(answer.text).tags:
        for key in ("src", "href", "action"):
            assert not (attributes.get(key) or "").startswith(("http", "//")), attributes


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "a b",
        "[::1",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/verify", "/static/site.css"])
def test_foreign_hosts_are_refused(client: httpx.Client, host: str, path: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code in (400, 421)
    assert "nonesuch</title>" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8765", "[::1]:8765"])
def test_own_hosts_are_answered(client: httpx.Client, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_posts_from_other_sites_are_refused(client: httpx.Client) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        answer = client.post("/api/verify", content=b"x", headers={"Origin": origin})
        assert answer.status_code == 403
    own = str(client.base_url).rstrip("/")
    assert client.post("/api/verify", content=b"x", headers={"Origin": own}).status_code == 200


def test_the_api_is_described(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert {
        "/api/verify", "/matches/byBinding", "/matches/byContent", "/manifests/{manifestId}",
        "/services/supportedAlgorithms",
    } == set(schema["paths"])  # fmt: skip
    answers = [o["responses"] for methods in schema["paths"].values() for o in methods.values()]
    assert not [a for a in answers if "422" in a]  # broken queries get 400, as the C2PA specification has it
    verdict = schema["components"]["schemas"]["VerdictBody"]
    assert set(verdict["properties"]) == KEYS
    page = client.get("/api").text
    assert all(path in page for path in schema["paths"])
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_other_methods_and_paths_are_refused(client: httpx.Client) -> None:
    assert client.get("/api/verify").status_code == 405
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/nothing"):
        assert client.get(path).status_code == 404


def test_uploads_leave_nothing_in_the_temporary_folder(client: httpx.Client, temporary: Path) -> None:
    data = encoded(picture(5, 1024), "BMP")
    assert len(data) > 1 << 20
    assert client.post("/api/verify", content=data).status_code == 200
    assert client.post("/verdict", files={"file": ("a.png", data)}).status_code == 200
    assert list(temporary.iterdir()) == []


def test_a_bad_start_is_told_in_one_message(tmp_path: Path, server: str) -> None:
    port = server.rstrip("/").rsplit(":", 1)[1]
    (tmp_path / "empty.pem").write_text("")
    for options in (
        ["--port", port],
        ["--catalog", str(tmp_path / "none")],
        ["--trust", str(tmp_path / "empty.pem")],
    ):
        told = nonesuch("serve", "--port", "0", *options)
        assert told.returncode == 2, told.stderr
        assert "Traceback" not in told.stderr
        assert told.stdout == ""


def test_it_listens_on_loopback_unless_told(server: str) -> None:
    assert server.startswith("http://127.0.0.1:")


def test_help_imports_no_web_framework() -> None:
    script = (
        "import sys\n"
        "sys.argv = ['nonesuch', 'serve', '--help']\n"
        "heavy = {'fastapi', 'starlette', 'uvicorn', 'jinja2', 'c2pa', 'cv2', 'numpy', 'duckdb'}\n"
        "from nonesuch.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
