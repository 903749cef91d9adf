"""What a sweep file's marking section comes to: certificates, signers, timestamps, secret watermark keys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.command_line import nonesuch

sys.path.append(str(Path(__file__).parents[1] / "provenance"))
from timestamp_authority import authority

from nonesuch.flows.run.job import prepare
from nonesuch.foundation.errors import InputError, ProvenanceError
from nonesuch.provenance.signing import keys
from nonesuch.provenance.verifying.verify import verify_file
from nonesuch.provenance.watermark import detect

SWEEP = """\
name: marked
model: noise
prompt: "a {{subject}}"
facets: {{subject: [panda, fox]}}
settings: {{width: 512, height: 512, steps: 1}}
scoring: {{scorers: []}}
marking: {{{marking}}}
"""


def sweep_file(folder: Path, marking: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(SWEEP.format(marking=marking))
    return path


def own_certificate(folder: Path, algorithm: str = "es384") -> None:
    """chain.pem and key.pem in `folder`, of an authority that nobody knows."""
    pair = keys.load_or_make(folder / "authority", algorithm=algorithm)
    (folder / "chain.pem").write_text(pair.chain_pem())
    (folder / "key.pem").write_bytes(pair.key_pem())
    (folder / "key.pem").chmod(0o600)


def run(path: Path, out: Path) -> pd.DataFrame:
    from nonesuch.flows.sweep import sweep

    sweep(path, out)
    return pd.read_parquet(out / "catalog")


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.usefixtures("prefect_server")
class TestMarkedSweeps:
    def test_ones_own_certificate_signs_by_key_and_by_command(self, tmp_path: Path) -> None:
        own_certificate(tmp_path)
        by_key = sweep_file(tmp_path, "certificate: chain.pem, key: key.pem, algorithm: es384")
        table = run(by_key, tmp_path / "out")
        verdict = verify_file(tmp_path / "out" / table["file"][0], search="aligned")
        assert (verdict.integrity, verdict.trust, verdict.confidence) == ("intact", "unlisted", "strong")
        script = tmp_path / "sign.sh"
        script.write_text(f'#!/bin/sh\nexec openssl dgst -sha384 -sign "{tmp_path}/key.pem"\n')
        script.chmod(0o755)
        by_command = sweep_file(tmp_path, "certificate: chain.pem, signer_command: ./sign.sh")
        table = run(by_command, tmp_path / "again")
        assert verify_file(tmp_path / "again" / table["file"][0], search="aligned").integrity == "intact"
        assert set(table["source_type"]) == {"trainedAlgorithmicMedia"}
        assert table["timestamp"].isna().all()

    def test_a_secret_watermark_key_is_used_and_told_to_nobody(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = "5e" * 32  # one in a hundred keys is not found again in pure noise
        (tmp_path / "mark.key").write_text(key + "\n")
        (tmp_path / "mark.key").chmod(0o600)
        table = run(sweep_file(tmp_path, "watermark_key: mark.key"), tmp_path / "out")
        image = pixels(tmp_path / "out" / table["file"][0])
        assert detect(image, search="aligned") is None
        found = detect(image, key=key.encode(), search="aligned")
        assert found is not None
        assert found.payload == table["watermark_id"][0]
        told = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert len(told) > 3
        assert not [path for path in told if key.encode() in path.read_bytes()]
        monkeypatch.setenv("MARK_KEY", key)
        again = run(sweep_file(tmp_path, 'watermark_key: "env:MARK_KEY"'), tmp_path / "again")
        assert sorted(again["recipe_id"]) == sorted(table["recipe_id"])
        image = pixels(tmp_path / "again" / again["file"][0])
        assert detect(image, key=key.encode(), search="aligned") is not None

    def test_images_are_timestamped_or_queued(self, tmp_path: Path) -> None:
        tsa = tmp_path / "tsa"
        tsa.mkdir()
        with authority(tsa) as (url, _):
            stamp = sweep_file(tmp_path, f'timestamp: {{url: "{url}", policy: queue}}')
            assert set(run(stamp, tmp_path / "out")["timestamp"]) == {"authority"}
        stamp = sweep_file(tmp_path, 'timestamp: {url: "http://127.0.0.1:9/", policy: queue}')
        assert set(run(stamp, tmp_path / "queued")["timestamp"]) == {"queued"}
        stamp = sweep_file(tmp_path, 'timestamp: {url: "http://127.0.0.1:9/", policy: continue}')
        assert run(stamp, tmp_path / "on")["timestamp"].isna().all()
        stamp = sweep_file(tmp_path, 'timestamp: {url: "http://127.0.0.1:9/"}')
        with pytest.raises(ProvenanceError, match="timestamp authority"):
            run(stamp, tmp_path / "failed")
        assert not (tmp_path / "failed").exists()

    def test_a_parent_with_a_broken_credential_is_said_to_be_broken(self, tmp_path: Path) -> None:
        from nonesuch.provenance.marking.drawn_image import MarkRequest, mark_image
        from nonesuch.provenance.signing.signer import open_signer

        grey = np.full((512, 512, 3), 128, np.uint8)
        for name in ("sound", "broken"):
            request = MarkRequest(1, {}, "parent", "embedded", watermark=None, format="jpeg")
            data = mark_image(grey, request, open_signer()).data
            if name == "broken":
                data = data.replace(b"parent", b"pirate", 1)
            (tmp_path / f"{name}.jpg").write_bytes(data)
        path = sweep_file(tmp_path, "")
        text = path.read_text().replace("{subject: [panda, fox]}", "{subject: {images: '*.jpg'}}")
        path.write_text(text)
        table = run(path, tmp_path / "out")
        assert sorted(table["status"]) == ["flagged", "ok"]
        (reason,) = table["reason"].dropna()
        assert "the credential of the input image is broken" in reason
        for file in table["file"]:
            verdict = verify_file(tmp_path / "out" / file, search="aligned")
            assert (verdict.integrity, verdict.trust) == ("intact", "own")
            assert set(table["source_type"]) == {"compositeWithTrainedAlgorithmicMedia"}


@pytest.mark.usefixtures("prefect_server")
def test_what_a_run_queues_is_stamped_by_a_command(tmp_path: Path) -> None:
    tsa, out = tmp_path / "tsa", tmp_path / "out"
    tsa.mkdir()
    path = sweep_file(tmp_path, 'timestamp: {url: "http://127.0.0.1:9/", policy: queue}')
    told = nonesuch("run", path, "--out", out)
    assert told.returncode == 0, told.stderr
    assert "2 images wait for their timestamp" in told.stderr
    with authority(tsa) as (url, _):
        stamped = nonesuch("keys", "stamp", out, "--timestamp", url)
    assert stamped.returncode == 0, stamped.stderr
    assert "2 timestamped" in stamped.stderr
    assert set(pd.read_parquet(out / "catalog")["timestamp"]) == {"authority"}
    again = nonesuch("run", path, "--out", out)
    assert again.returncode == 0, again.stderr
    assert "0 drawn" in again.stderr
    assert "wait" not in again.stderr


BAD = {
    "certificate: chain.pem": "exactly one of",
    "key: key.pem": "needs the certificate",
    "certificate: chain.pem, key: key.pem, signer_plugin: vault": "exactly one of",
    "certificate: none.pem, key: key.pem": "No such file",
    "certificate: chain.pem, key: key.pem, algorithm: es256": "the key is for es384, not es256",
    "certificate: other.pem, key: key.pem": "does not belong",
    "certificate: chain.pem, signer_plugin: vault": "unknown external signer",
    'certificate: chain.pem, signer_command: "false"': "the signing command failed",
    "certificate: chain.pem, key: loose.pem": "chmod 600",
    "credentials: false, algorithm: es256": "turned off",
    'timestamp: {url: "ftp://x"}': "pattern",
    "timestamp: {policy: queue}": "'url' is missing",
    'timestamp: {url: "http://x", polcy: fail}': "Did you mean 'policy'",
    "watermark_key: none.key": "No such file",
    'watermark_key: "env:NO_SUCH_VARIABLE"': "is not set",
    "watermark_key: short.key": "16 to 4096 bytes",
    "watermark_key: loose.pem": "chmod 600",
    "watermark: false, watermark_key: key.pem": "turned off",
}


@pytest.mark.parametrize("marking", BAD)
def test_what_can_not_mark_is_refused_before_the_sweep_starts(tmp_path: Path, marking: str) -> None:
    own_certificate(tmp_path)
    other = keys.load_or_make(tmp_path / "elsewhere", algorithm="es384")
    (tmp_path / "other.pem").write_text(other.chain_pem())
    (tmp_path / "loose.pem").write_bytes((tmp_path / "key.pem").read_bytes())
    (tmp_path / "loose.pem").chmod(0o644)
    (tmp_path / "short.key").write_text("short")
    (tmp_path / "short.key").chmod(0o600)
    with pytest.raises(InputError) as caught:
        prepare(sweep_file(tmp_path, marking), tmp_path / "out", online=False)
    assert BAD[marking] in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_webp_can_not_wait_for_its_timestamp(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, 'timestamp: {url: "http://127.0.0.1:9/", policy: queue}')
    path.write_text(path.read_text() + "format: {type: webp}\n")
    with pytest.raises(InputError, match="WebP files can't be timestamped later"):
        prepare(path, tmp_path / "out", online=False)
