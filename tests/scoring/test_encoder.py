"""Encoders: they agree with open_clip's own path, encode each text once, and never touch the network unasked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nonesuch.foundation.errors import DependencyError, InputError, ScoringError
from nonesuch.foundation.images import RGB
from nonesuch.scoring import Encoder, open_encoder
from tests.scoring.samples import model_config, picture, write_model

pytestmark = pytest.mark.slow

SIZES = [(32, 32), (48, 48), (97, 61), (61, 97), (20, 24), (150, 200)]


def _open_clips_own(folder: Path, images: list[RGB]) -> tuple[Any, Any]:
    """Inputs and embeddings of the path through Pillow that open_clip documents."""
    import open_clip
    import torch
    from PIL import Image

    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    inputs = torch.stack([transform(Image.fromarray(image)) for image in images])
    with torch.inference_mode():
        embeddings = model.eval().encode_image(inputs, normalize=True)
    return inputs.numpy(), embeddings.numpy()


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("image_size", [32, [24, 40]])
def test_preprocessing_agrees_with_open_clips(
    tmp_path: Path, resize_mode: str, interpolation: str, image_size: int | list[int]
) -> None:
    import torch

    from nonesuch.scoring.preprocess import prepare

    folder = write_model(
        tmp_path,
        image_size,
        resize_mode=resize_mode,
        interpolation=interpolation,
        mean=[0.4, 0.5, 0.6],
        std=[0.2, 0.25, 0.3],
        fill_color=90,
    )
    images = [picture(seed, *size) for seed, size in enumerate(SIZES)]
    encoder = open_encoder(f"local-dir:{folder}", "cpu")
    inputs, expected = _open_clips_own(folder, images)
    embeddings = encoder.images(images)

    assert (embeddings * expected).sum(axis=1).min() > 0.999
    assert (expected @ expected.T)[~np.eye(len(images), dtype=bool)].max() < 0.998  # the check can fail
    config = encoder._config  # type: ignore[attr-defined]
    for image, wanted in zip(images, inputs, strict=True):
        got = prepare(image[None], config, torch.device("cpu"))[0].numpy()
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() * 0.2 * 255 < 2.5  # bytes


def test_preprocessing_is_named_in_full(tmp_path: Path) -> None:
    folder = write_model(
        tmp_path, resize_mode="squash", interpolation="bilinear", mean=[0.5] * 3, std=[0.25] * 3
    )
    encoder = open_encoder(f"local-dir:{folder}", "cpu")
    assert encoder.preprocessing == "32x32 squash bilinear mean 0.5,0.5,0.5 std 0.25,0.25,0.25"


def test_images_of_any_sizes_keep_their_order_and_do_not_depend_on_company(encoder: Encoder) -> None:
    images = [picture(seed, *SIZES[seed % len(SIZES)]) for seed in range(40)]
    together = encoder.images(images)
    alone = np.concatenate([encoder.images([image]) for image in images])
    assert together.shape == (40, encoder.dim)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_nothing_in_nothing_out(encoder: Encoder) -> None:
    assert encoder.images([]).shape == (0, encoder.dim)
    assert encoder.texts([]).shape == (0, encoder.dim)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(encoder: Encoder, image: Any) -> None:
    with pytest.raises(ScoringError, match="image 1 is"):
        encoder.images([picture(0), image])


def test_each_distinct_text_is_encoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = open_encoder(f"local-dir:{folder}", "cpu")
    model = encoder._model  # type: ignore[attr-defined]
    encode, encoded = model.encode_text, []

    def counting(tokens: Any) -> Any:
        encoded.extend(tokens.tolist())
        return encode(tokens)

    monkeypatch.setattr(model, "encode_text", counting)
    first = encoder.texts(["a fox", "a panda", "a fox"])
    second = encoder.texts(["a panda", "a rose", "a fox"])
    assert len(encoded) == 3
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[[1, 0]], second[[0, 2]])
    np.testing.assert_allclose(np.linalg.norm(second, axis=1), 1, atol=1e-5)


def test_the_text_cache_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nonesuch.scoring.clip._TEXTS_KEPT", 5)
    encoder = open_encoder(f"local-dir:{folder}", "cpu")
    texts = [f"picture number {number}" for number in range(50)]
    np.testing.assert_allclose(encoder.texts(texts)[7], encoder.texts([texts[7]])[0], atol=1e-5)
    assert len(encoder._texts) == 5  # type: ignore[attr-defined]


def test_threads_may_share_an_encoder(encoder: Encoder) -> None:
    texts = [[f"{number} foxes on {place} hills" for number in range(6)] for place in range(8)]
    with ThreadPoolExecutor(8) as pool:
        shared = list(pool.map(encoder.texts, texts))
    for part, vectors in zip(texts, shared, strict=True):
        np.testing.assert_allclose(vectors, encoder.texts(part), atol=1e-5)


def test_a_local_folder_is_named_by_its_digest(folder: Path, encoder: Encoder) -> None:
    digest = hashlib.sha256((folder / "open_clip_model.safetensors").read_bytes()).hexdigest()
    assert encoder.digest == digest
    assert encoder.tag == digest[:12]
    assert encoder.name == f"local-dir:{folder.name}"
    assert encoder.precision == "fp32"


def test_bfloat16_is_recorded_and_near(folder: Path, encoder: Encoder) -> None:
    half = open_encoder(f"local-dir:{folder}", "cpu", precision="bf16")
    images = [picture(seed) for seed in range(4)]
    assert half.precision == "bf16"
    embeddings = half.images(images)
    assert (embeddings * encoder.images(images)).sum(axis=1).min() > 0.98
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("missing", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_a_folder_without_config_or_weights(tmp_path: Path, missing: str) -> None:
    folder = write_model(tmp_path)
    (folder / missing).unlink()
    with pytest.raises(DependencyError, match=missing):
        open_encoder(f"local-dir:{folder}")


def test_pickled_weights_are_not_looked_for(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(DependencyError, match="safetensors"):
        open_encoder(f"local-dir:{folder}")


def test_weights_of_another_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 32
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ScoringError, match="can't be loaded"):
        open_encoder(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "unknown encoder"),
        ("ViT-L-41/openai", "no pretrained model 'ViT-L-41'"),
        ("ViT-L-14/closedai", "no weights 'closedai'"),
        ("hf-hub:justone", "owner/model"),
        ("embedded:small", "no argument after its name"),
        ("some/folder/here", "local-dir:some/folder/here"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_encoder(name)


def test_unknown_device_and_precision(folder: Path) -> None:
    with pytest.raises(InputError, match="device"):
        open_encoder(f"local-dir:{folder}", "abacus")
    with pytest.raises(InputError, match="precision"):
        open_encoder(f"local-dir:{folder}", precision="int3")  # type: ignore[arg-type]


@pytest.fixture
def hub(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, list[str]]]:
    """An empty hub cache and a hub on loopback that has nothing; yields the cache and the requests made."""
    from huggingface_hub import constants

    cache = tmp_path_factory.mktemp("hub")
    requests: list[str] = []

    class Empty(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            requests.append(self.path)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = _answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield cache, requests
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["hf-hub:someone/tiny", "ViT-L-14/openai", "ViT-B-16-SigLIP/webli"])
def test_nothing_is_requested_unless_online(hub: tuple[Path, list[str]], name: str) -> None:
    _, requests = hub
    with pytest.raises(DependencyError, match="not on this machine"):
        open_encoder(name)
    assert requests == []
    with pytest.raises(DependencyError, match="could not be fetched"):
        open_encoder(name, online=True)
    assert requests


def _cache(cache: Path, repo: str, folder: Path, commit: str) -> None:
    """Puts the folder into a hub cache as the hub client would."""
    place = cache / f"models--{repo.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    (place / "snapshots").mkdir()
    folder.rename(place / "snapshots" / commit)


def test_a_cached_hub_model_needs_no_network(tmp_path: Path, hub: tuple[Path, list[str]]) -> None:
    cache, requests = hub
    folder = write_model(tmp_path, seed=3)
    images = [picture(1), picture(2)]
    expected = open_encoder(f"local-dir:{folder}").images(images)
    _cache(cache, "someone/tiny", folder, "c0ffee" * 6 + "c0ff")
    encoder = open_encoder("hf-hub:someone/tiny")
    assert (encoder.name, encoder.tag) == ("hf-hub:someone/tiny", "c0ffee" * 6 + "c0ff")
    np.testing.assert_allclose(encoder.images(images), expected, atol=1e-6)
    assert requests == []


def test_a_pretrained_tag_brings_its_activation_and_preprocessing(
    tmp_path: Path,
    hub: tuple[Path, list[str]],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tag's QuickGELU is applied although open_clip itself only warns of the mismatch."""
    import open_clip
    from open_clip import factory, pretrained

    cache, requests = hub
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    config = tmp_path_factory.mktemp("configs") / "Tiny-8.json"
    config.write_text(json.dumps(model_config()))
    open_clip.add_model_config(config)
    tags = {
        "quick": pretrained._pcfg(hf_hub="someone/tiny/", quick_gelu=True),
        "plain": pretrained._slpcfg(hf_hub="someone/tiny/"),
    }
    monkeypatch.setitem(pretrained._PRETRAINED, "Tiny-8", tags)
    _cache(cache, "someone/tiny", write_model(tmp_path, seed=4), "decade" * 6 + "deca")

    quick, plain = open_encoder("Tiny-8/quick"), open_encoder("Tiny-8/plain")
    assert (quick.name, quick.tag) == ("Tiny-8", "quick")
    assert "shortest bicubic mean 0.48145466" in quick.preprocessing
    assert "squash bicubic mean 0.5,0.5,0.5" in plain.preprocessing
    activations = [type(e._model.visual.transformer.resblocks[0].mlp.gelu).__name__ for e in (quick, plain)]  # type: ignore[attr-defined]
    assert activations == ["QuickGELU", "GELU"]
    assert requests == []
