"""Aesthetic heads: known answers of the public ones, digests, fetching, and which encoder a head fits."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nonesuch.foundation.errors import DependencyError, InputError, ScoringError
from nonesuch.scoring import Encoder, open_scorers
from nonesuch.scoring.heads import PUBLIC_HEADS, PublicHead, head_file, open_head, own_head, public_head

DATA = Path(__file__).parent / "data"
PINNED = {head.name: head for head in PUBLIC_HEADS}


def _encoder(name: str, tag: str, digest: str | None = None) -> Any:
    return SimpleNamespace(name=name, tag=tag, digest=digest, dim=768)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NONESUCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "aesthetic"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("name", "model", "stem", "answers"),
    [
        ("laion-linear-vit-l-14", "ViT-L-14", "vit_l_14", [-2.46, 3.58, 7.79, 11.30]),
        ("laion-linear-vit-b-32", "ViT-B-32", "vit_b_32", [-1.47, 3.61, 7.67, 11.01]),
    ],
)
def test_the_public_linear_heads_answer_as_published(
    cache: Path, name: str, model: str, stem: str, answers: list[float]
) -> None:
    (cache / f"{name}.pth").write_bytes((DATA / f"sa_0_4_{stem}_linear.pth").read_bytes())
    head = open_head(name, _encoder(model, "openai"), online=False)
    embeddings = np.concatenate([np.load(DATA / f"{stem}_rating{rating}.npy") for rating in (0, 3, 6, 9)])
    np.testing.assert_allclose(head.score(embeddings), answers, atol=0.006)
    assert head.digest == PINNED[name].digest


def _published(path: Path, tensors: dict[str, Any]) -> PublicHead:
    """Saves a head the way the public ones are and pins it."""
    import torch

    torch.save(tensors, path)
    return PublicHead("made", "http://127.0.0.1:9/made.pth", sha256(path.read_bytes()).hexdigest(), ())


def test_the_improved_predictor_folds_to_what_its_layers_compute(tmp_path: Path) -> None:
    """Same layers, names and dropouts as the public file, with random weights."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Linear(768, 1024), nn.Dropout(0.2), nn.Linear(1024, 128), nn.Dropout(0.2), nn.Linear(128, 64),
        nn.Dropout(0.1), nn.Linear(64, 16), nn.Linear(16, 1),
    ).eval()  # fmt: skip
    made = _published(tmp_path / "made.pth", {f"layers.{k}": v for k, v in layers.state_dict().items()})
    head = public_head(made, tmp_path / "made.pth")
    embeddings = np.random.default_rng(0).standard_normal((9, 768)).astype(np.float32)
    with torch.inference_mode():
        expected = layers(torch.from_numpy(embeddings))[:, 0].numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(head.score(embeddings), expected, atol=1e-5)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"weight": [[1.0, 2.0]]},
        {"weight": [[1.0], [2.0]], "bias": [0.0, 0.0]},
        {"layers.0.weight": [[1.0, 2.0]], "layers.0.bias": [0.0], "other": [1.0]},
        {"layers.0.weight": [[1.0, 2.0]] * 3, "layers.0.bias": [0.0] * 3, "layers.2.weight": [[1.0]], "layers.2.bias": [0.0]},
    ],
)  # fmt: skip
def test_other_tensors_are_no_head(tmp_path: Path, tensors: dict[str, Any]) -> None:
    import torch

    made = _published(tmp_path / "made.pth", {key: torch.tensor(value) for key, value in tensors.items()})
    with pytest.raises(ScoringError, match="is not an aesthetic head"):
        public_head(made, tmp_path / "made.pth")


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    (tmp_path / "made.pth").write_bytes(pickle.dumps({"weight": Bomb()}, protocol=2))
    digest = sha256((tmp_path / "made.pth").read_bytes()).hexdigest()
    with pytest.raises(ScoringError, match="is not an aesthetic head"):
        public_head(PublicHead("made", "", digest, ()), tmp_path / "made.pth")
    assert not (tmp_path / "exploded").exists()


def test_a_changed_file_in_the_cache_is_refused(cache: Path) -> None:
    name = "laion-linear-vit-b-32"
    data = bytearray((DATA / "sa_0_4_vit_b_32_linear.pth").read_bytes())
    data[1200] ^= 1
    (cache / f"{name}.pth").write_bytes(data)
    with pytest.raises(ScoringError, match="SHA-256"):
        open_head(name, _encoder("ViT-B-32", "openai"), online=False)


@pytest.fixture
def site() -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """A web server on loopback: its address, what it has, what was asked of it."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=lambda: server.serve_forever(0.05), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", files, asked
    server.shutdown()
    server.server_close()


def test_a_head_is_fetched_once_and_only_when_allowed(
    cache: Path, site: tuple[str, dict[str, bytes], list[str]]
) -> None:
    address, files, asked = site
    files["/head.pth"] = (DATA / "sa_0_4_vit_b_32_linear.pth").read_bytes()
    digest = sha256(files["/head.pth"]).hexdigest()
    public = PublicHead("fetched", f"{address}/head.pth", digest, ())
    with pytest.raises(DependencyError, match="not on this machine"):
        head_file(public, online=False)
    assert asked == []
    for _ in range(2):
        assert public_head(public, head_file(public, online=True)).digest == digest
    assert head_file(public, online=False) == cache / "fetched.pth"
    assert asked == ["/head.pth"]


def test_a_fetched_file_with_another_digest_is_not_kept(
    cache: Path, site: tuple[str, dict[str, bytes], list[str]]
) -> None:
    address, files, _ = site
    files["/head.pth"] = b"<html>moved</html>"
    with pytest.raises(ScoringError, match="SHA-256"):
        head_file(PublicHead("fetched", f"{address}/head.pth", "0" * 64, ()), online=True)
    with pytest.raises(DependencyError, match="can't be fetched"):
        head_file(PublicHead("fetched", f"{address}/gone.pth", "0" * 64, ()), online=True)
    assert list(cache.iterdir()) == []


def test_an_answer_without_end_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, site: tuple[str, dict[str, bytes], list[str]]
) -> None:
    address, files, _ = site
    monkeypatch.setattr("nonesuch.scoring.heads._MAX_BYTES", 1000)
    files["/head.pth"] = bytes(5000)
    with pytest.raises(ScoringError, match="over 1,000 bytes"):
        head_file(PublicHead("fetched", f"{address}/head.pth", "0" * 64, ()), online=True)


@pytest.mark.parametrize(
    ("name", "encoder", "message"),
    [
        ("laion-linear-vit-l-14", _encoder("ViT-B-32", "openai"), "doesn't fit"),
        ("laion-linear-vit-l-14", _encoder("ViT-L-14", "laion2b_s32b_b82k"), "doesn't fit"),
        ("improved-mlp-vit-l-14", _encoder("embedded", "1234"), "doesn't fit"),
        ("no-such-head", _encoder("ViT-L-14", "openai"), "unknown aesthetic head"),
        (None, _encoder("ViT-B-16", "openai"), "no aesthetic head is known"),
    ],
)
def test_heads_that_do_not_fit(name: str | None, encoder: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_head(name, encoder, online=True)


@pytest.mark.parametrize(
    ("encoder", "default"),
    [
        (_encoder("ViT-L-14", "openai"), "improved-mlp-vit-l-14"),
        (_encoder("ViT-L-14-quickgelu", "openai"), "improved-mlp-vit-l-14"),
        (_encoder("hf-hub:timm/vit_large_patch14_clip_224.openai", "c0ffee"), "improved-mlp-vit-l-14"),
        (_encoder("ViT-B-32", "openai"), "laion-linear-vit-b-32"),
    ],
)
def test_the_default_head_belongs_to_the_encoder(encoder: Any, default: str) -> None:
    with pytest.raises(DependencyError, match=default):
        open_head(None, encoder, online=False)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    from safetensors.numpy import save_file

    weight = np.arange(768, dtype=np.float16)[None]
    save_file({"weight": weight, "bias": np.ones(1, np.float16)}, tmp_path / "own.safetensors")
    card = tmp_path / "own.json"
    card.write_text(json.dumps({"name": "own", "activation": "identity", "encoder_digest": "ab" * 32}))
    return card


def test_an_own_head(own: Path) -> None:
    head = open_head(str(own), _encoder("local-dir:x", "abab", "ab" * 32), online=False)
    assert head.name == "own"
    assert head.digest == sha256(own.with_suffix(".safetensors").read_bytes()).hexdigest()
    np.testing.assert_array_equal(head.score(np.eye(768, dtype=np.float32)), np.arange(768) + 1)


@pytest.mark.parametrize("activation", ["gelu", "relu", "identity"])
def test_an_own_head_with_layers(tmp_path: Path, activation: str) -> None:
    """The files that training writes: a Sequential's tensors in half precision beside the encoder's weights."""
    import torch
    from safetensors.torch import save_file
    from torch import nn

    torch.manual_seed(1)
    between = {"gelu": nn.GELU(), "relu": nn.ReLU(), "identity": nn.Identity()}[activation]
    layers = nn.Sequential(nn.Linear(768, 64), between, nn.Linear(64, 1)).half()
    save_file(layers.state_dict(), tmp_path / "aesthetic.safetensors")
    (tmp_path / "aesthetic.json").write_text(json.dumps({"activation": activation, "layers": [768, 64, 1]}))
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"weights")

    head = own_head(tmp_path / "aesthetic.json", _encoder("embedded", "x", sha256(b"weights").hexdigest()))
    assert head.name == tmp_path.name
    embeddings = np.random.default_rng(0).standard_normal((5, 768)).astype(np.float32)
    with torch.inference_mode():
        expected = layers.float()(torch.from_numpy(embeddings))[:, 0].numpy()
    np.testing.assert_allclose(head.score(embeddings), expected, atol=1e-5)
    with pytest.raises(InputError, match="another encoder"):
        own_head(tmp_path / "aesthetic.json", _encoder("embedded", "x", sha256(b"others").hexdigest()))


def test_an_own_head_of_another_encoder(own: Path) -> None:
    with pytest.raises(InputError, match="another encoder"):
        own_head(own, _encoder("local-dir:x", "abab", "cd" * 32))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"activation": "gelu"}', '{"activation": "swish", "encoder_digest": "' + "ab" * 32 + '"}'],
)
def test_a_broken_card(own: Path, text: str) -> None:
    own.write_text(text)
    with pytest.raises(ScoringError, match=r"own\.json"):
        own_head(own, _encoder("local-dir:x", "abab", "ab" * 32))


def test_a_card_without_weights(own: Path) -> None:
    own.with_suffix(".safetensors").unlink()
    with pytest.raises(DependencyError, match=r"own\.safetensors"):
        own_head(own, _encoder("local-dir:x", "abab", "ab" * 32))


def test_a_head_of_another_length(tmp_path: Path, encoder: Encoder, own: Path) -> None:
    own.write_text(json.dumps({"name": "own", "activation": "identity", "encoder_digest": encoder.digest}))
    with pytest.raises(InputError, match="768"):
        open_scorers(["aesthetic"], encoder, aesthetic_head=str(own))
