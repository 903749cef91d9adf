"""What is fetched: nothing, unless asked, and then only from the hosts allowed."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import c2pa
import pytest
from provenance_samples import picture

from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.marking import encoding
from nonesuch.provenance.signing import keys
from nonesuch.provenance.verifying.verify import VerifyOptions, verify_bytes
from nonesuch.provenance.verifying.verify_options import ONLINE_HOSTS


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A host of manifests on loopback; yields its address and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/manifest.c2pa", asked
    server.shutdown()
    server.server_close()


def pointing_to(url: str, home: Path) -> bytes:
    """A JPEG whose credential is not in it but at `url`."""
    pair = keys.load_or_make(home)
    signer = c2pa.Signer.from_info(
        c2pa.C2paSignerInfo("es256", pair.chain_pem().encode(), pair.key_pem(), None)
    )
    actions = [{"action": "c2pa.created", "digitalSourceType": "http://c2pa.org/digitalsourcetype/empty"}]
    builder = c2pa.Builder({"assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}]})
    builder.set_no_embed()
    builder.set_remote_url(url)
    target = io.BytesIO()
    builder.sign(signer, "image/jpeg", io.BytesIO(encoding.encode_image(picture(size=64), "jpeg")), target)
    return target.getvalue()


@pytest.mark.parametrize("online", [False, True])
def test_a_private_address_is_never_asked(
    tmp_path: Path, server: tuple[str, list[str]], online: bool
) -> None:
    url, asked = server
    data = pointing_to(url, tmp_path)
    asked.clear()
    hosts = ("127.0.0.1", "localhost", "::1", "169.254.169.254")
    options = VerifyOptions(home=tmp_path, online=online, online_hosts=hosts, search="aligned")
    verdict = verify_bytes(data, "x", options, options.load_trust())
    assert asked == []
    assert (verdict.verdict, verdict.integrity, verdict.error) == ("no-evidence", "unsigned", None)
    assert url in verdict.evidence[0].detail


def test_the_way_the_server_would_be_asked_works(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    """The control: without nonesuch's settings the SDK does ask, so the test above can fail."""
    url, asked = server
    data = pointing_to(url, tmp_path)
    context = c2pa.Context.from_dict({"verify": {"remote_manifest_fetch": True}})
    with pytest.raises(c2pa.C2paError):
        c2pa.Reader("image/jpeg", io.BytesIO(data), context=context)
    assert "/manifest.c2pa" in asked


def test_offline_is_the_default() -> None:
    assert VerifyOptions().online is False
    assert load_trust().sha256 == load_trust(online_hosts=["127.0.0.1"]).sha256
    assert all("*" not in host for host in ONLINE_HOSTS)
