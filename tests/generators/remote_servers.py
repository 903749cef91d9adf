"""Servers on loopback that speak the protocols of ComfyUI, A1111, OpenAI, Stability and Google, faults included.

They draw noise from the prompt and seed, and know nothing of nonesuch.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import default as email_policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

KEY = "sk-test-0123456789abcdef"


def picture(seed: str, width: int = 64, height: int = 64) -> bytes:
    """A PNG of noise that the text decides."""
    rng = np.random.default_rng(int(hashlib.sha256(seed.encode()).hexdigest()[:12], 16))
    packed = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(packed, "PNG")
    return packed.getvalue()


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, Any]:
        """The fields of a multipart form; files as (name, bytes)."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = BytesParser(policy=email_policy).parsebytes(head + self.body)
        found: dict[str, Any] = {}
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            data = part.get_payload(decode=True)
            file = part.get_filename()
            found[name] = (file, data) if file else data.decode()
        return found


@dataclass
class Reply:
    """What goes out; `cut` ends the body early, `wait` holds it back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: bool = False


def as_json(value: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


class Server:
    """Counts requests, and gives what `faults` holds before it answers in earnest."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: deque[Reply] = deque()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""
        self.gone = False  # connections that are open break off too

    def answer(self, request: Request) -> Reply:
        raise NotImplementedError

    def is_drawing(self, request: Request) -> bool:
        """Whether faults meet this request."""
        return request.method == "POST"

    def drawn(self) -> list[Request]:
        return [request for request in self.requests if self.is_drawing(request)]

    def handle(self, request: Request) -> Reply:
        with self.lock:
            self.requests.append(request)
            fault = self.faults.popleft() if self.faults and self.is_drawing(request) else None
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            reply = fault or self.answer(request)
            time.sleep(reply.wait)
            return reply
        finally:
            with self.lock:
                self.at_once -= 1


@contextmanager
def running(server: Server) -> Iterator[Any]:
    """The server on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            if server.gone:
                self.close_connection = True
                return
            reply = server.handle(Request(self.command, parts.path, query, headers, body))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            if reply.cut:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
            self.close_connection = reply.cut

        do_GET = do_POST = _serve

        def log_message(self, *_: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    try:
        yield server
    finally:
        server.gone = True
        httpd.shutdown()
        httpd.server_close()


class A1111Server(Server):
    """The web UI with two checkpoints; the second has no hash until it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded = "first.safetensors [aaaaaaaaaa]"
        self.hashes = {"first": "a" * 64, "second": None}

    def is_drawing(self, request: Request) -> bool:
        return request.path.endswith("2img")

    def answer(self, request: Request) -> Reply:
        path = request.path.removeprefix("/sdapi/v1/")
        if path == "options" and request.method == "GET":
            return as_json({"sd_model_checkpoint": self.loaded})
        if path == "options":
            self.loaded = request.json["sd_model_checkpoint"]
            name = self.loaded.split(".")[0]
            self.hashes[name] = self.hashes[name] or "b" * 64
            return as_json(None)
        if path == "sd-models":
            return as_json(
                [
                    {"title": f"{name}.safetensors", "model_name": name, "hash": digest and digest[:10],
                     "sha256": digest, "filename": f"/models/{name}.safetensors", "config": None}
                    for name, digest in self.hashes.items()
                ]
            )  # fmt: skip
        if path == "samplers":
            return as_json([{"name": name, "aliases": [], "options": {}} for name in ("Euler", "DPM++ 2M")])
        if path in ("txt2img", "img2img"):
            told = request.json
            if "out of memory" in told["prompt"]:
                return as_json(
                    {"error": "OutOfMemoryError", "detail": "", "errors": "CUDA out of memory"}, 500
                )
            name = told["override_settings"]["sd_model_checkpoint"].split(".")[0]
            data = picture(f"{told['prompt']} {told['seed']}", told["width"], told["height"])
            info = {"seed": told["seed"], "sd_model_hash": str(self.hashes[name])[:10], "sd_model_name": name}
            return as_json(
                {"images": [base64.b64encode(data).decode()], "parameters": told, "info": json.dumps(info)}
            )
        return as_json({"detail": "Not Found"}, 404)


WORKFLOW: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 1, "steps": 20, "cfg": 7.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
        "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "first.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "words", "clip": ["4", 1]}, "_meta": {"title": "Positive"}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}  # fmt: skip


class ComfyServer(Server):
    """ComfyUI with the nodes of the standard workflow; a queued prompt is done after `looks` looks at its history."""

    def __init__(self, looks: int = 2, own_ids: bool = False) -> None:
        super().__init__()
        self.looks = looks
        self.own_ids = own_ids  # as servers before 0.3.40 do
        self.queue: dict[str, tuple[dict[str, Any], int]] = {}
        self.files: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}

    def is_drawing(self, request: Request) -> bool:
        return request.method == "POST" and request.path == "/prompt"

    def answer(self, request: Request) -> Reply:
        path = request.path
        if path == "/system_stats":
            return as_json({"system": {"comfyui_version": "0.3.75", "os": "posix"}, "devices": []})
        if path.startswith("/object_info/"):
            return as_json(self._info(path.rsplit("/", 1)[1]))
        if path == "/view_metadata/checkpoints":
            return as_json({"modelspec.hash_sha256": "0x" + "c" * 64})
        if path == "/prompt":
            return self._prompt(request.json)
        if path.startswith("/history/"):
            return as_json(self._history(path.rsplit("/", 1)[1]))
        if path == "/queue":
            return as_json({"queue_running": [], "queue_pending": []})
        if path == "/view":
            data = self.files.get(request.query["filename"])
            return Reply(404) if data is None else Reply(200, data, {"Content-Type": "image/png"})
        if path == "/upload/image":
            name, data = request.form["image"]
            self.uploads[name] = data
            return as_json({"name": name, "subfolder": "", "type": "input"})
        return Reply(404)

    def _info(self, kind: str) -> dict[str, Any]:
        known = {node["class_type"] for node in WORKFLOW.values()} | {"LoadImage", "VAEEncode"}
        if kind not in known:
            return {}
        required: dict[str, Any] = {}
        if kind == "CheckpointLoaderSimple":
            required = {"ckpt_name": [["first.safetensors", "other.safetensors"], {}]}
        if kind == "KSampler":
            required = {"sampler_name": ["COMBO", {"options": ["euler", "dpmpp_2m"]}]}
        return {kind: {"input": {"required": required}, "output_node": kind == "SaveImage"}}

    def _prompt(self, told: dict[str, Any]) -> Reply:
        graph = told["prompt"]
        if graph["3"]["inputs"]["steps"] < 1:
            errors = {"3": {"errors": [{"message": "Value smaller than min", "details": "steps"}]}}
            return as_json({"error": {"message": "invalid"}, "node_errors": errors}, 400)
        number = f"own-{len(self.queue)}" if self.own_ids else told["prompt_id"]
        self.queue[number] = (graph, self.looks)
        return as_json({"prompt_id": number, "number": 1, "node_errors": {}})

    def _history(self, number: str) -> dict[str, Any]:
        if number not in self.queue:
            return {}
        graph, left = self.queue[number]
        if left > 0:
            self.queue[number] = (graph, left - 1)
            return {}
        words = graph["6"]["inputs"]["text"]
        if "explode" in words:
            told = {"node_id": "3", "node_type": "KSampler", "exception_message": "boom"}
            return {
                number: {
                    "outputs": {},
                    "status": {"status_str": "error", "messages": [["execution_error", told]]},
                }
            }
        name = f"{graph['9']['inputs']['filename_prefix'].replace('/', '_')}_00001_.png"
        latent = graph["5"]["inputs"]
        self.files[name] = picture(f"{words} {graph['3']['inputs']}", latent["width"], latent["height"])
        image = {"filename": name, "subfolder": "", "type": "output"}
        return {number: {"outputs": {"9": {"images": [image]}}, "status": {"status_str": "success"}}}


class ServiceServer(Server):
    """What the three services share: a key, and a picture that may carry a credential."""

    def __init__(self, sign: Callable[[bytes], bytes] | None = None) -> None:
        super().__init__()
        self.sign = sign or (lambda data: data)

    def image(self, words: str, width: int, height: int) -> str:
        return base64.b64encode(self.sign(picture(f"{words} {len(self.requests)}", width, height))).decode()


class OpenAIServer(ServiceServer):
    """The Images API; a prompt with "forbidden" is refused."""

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            told = {
                "code": "invalid_api_key",
                "message": f"Incorrect API key: {request.headers.get('authorization')}",
            }
            return as_json({"error": told}, 401)
        if request.method == "GET":
            known = request.path.rsplit("/", 1)[1] in ("dall-e-3", "gpt-image-1", "gpt-image-1-mini")
            return as_json({"id": "model"}) if known else as_json({"error": {"code": "model_not_found"}}, 404)
        told = request.json if request.path.endswith("generations") else request.form
        if "forbidden" in told["prompt"]:
            return as_json({"error": {"code": "content_policy_violation", "message": "no"}}, 400)
        width, height = (int(side) for side in told["size"].split("x"))
        data: dict[str, Any] = {"b64_json": self.image(told["prompt"], width // 16, height // 16)}
        reply: dict[str, Any] = {"created": 1, "data": [data]}
        if told["model"].startswith("dall-e"):
            data["revised_prompt"] = f"{told['prompt']}, revised"
        else:
            reply["usage"] = {"input_tokens": 10, "output_tokens": 272, "total_tokens": 282,
                              "input_tokens_details": {"text_tokens": 10, "image_tokens": 0}}  # fmt: skip
        return as_json(reply, **{"x-request-id": "req_1"})


class StabilityServer(ServiceServer):
    """v2beta and v1."""

    credits = 25.0

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return as_json({"name": "unauthorized", "errors": ["no"]}, 401)
        if request.path == "/v1/user/balance":
            return as_json({"credits": self.credits})
        if request.path.startswith("/v1/"):
            told = request.json
            artifact = {"base64": self.image(told["text_prompts"][0]["text"], 64, 64), "seed": told["seed"],
                        "finishReason": "SUCCESS"}  # fmt: skip
            return as_json({"artifacts": [artifact]})
        form = request.form
        if "forbidden" in form["prompt"]:
            return as_json({"id": "1", "name": "content_moderation", "errors": ["flagged"]}, 403)
        filtered = "nude" in form["prompt"]
        told = {"image": self.image(form["prompt"], 64, 64), "seed": int(form["seed"]),
                "finish_reason": "CONTENT_FILTERED" if filtered else "SUCCESS"}  # fmt: skip
        return as_json(told)


class GoogleServer(ServiceServer):
    """Imagen's predict."""

    def answer(self, request: Request) -> Reply:
        if KEY not in (request.headers.get("x-goog-api-key"), request.headers.get("authorization", "")[7:]):
            error = {"code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid.",
                     "details": [{"reason": "API_KEY_INVALID"}]}  # fmt: skip
            return as_json({"error": error}, 400)
        if request.method == "GET":
            return as_json({"name": "models/imagen"})
        words = request.json["instances"][0]["prompt"]
        if "forbidden" in words:
            return as_json({"predictions": [{"raiFilteredReason": "Unable to show generated images."}]})
        return as_json(
            {"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": self.image(words, 64, 64)}]}
        )
