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
        self.jobs = 0
        self.kept: dict[str, Reply] | None = (
            None  # answers by prompt and seed, where something before it keeps them
        )

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
        if path == "progress":
            return as_json({"progress": 0.0, "state": {"job": "", "job_timestamp": self._job_timestamp()}})
        if path in ("txt2img", "img2img"):
            told = request.json
            kept = f"{told['prompt']} {told['seed']}"
            if self.kept is not None and kept in self.kept:
                return self.kept[kept]
            self.jobs += 1
            if "out of memory" in told["prompt"]:
                return as_json(
                    {"error": "OutOfMemoryError", "detail": "", "errors": "CUDA out of memory"}, 500
                )
            name = told["override_settings"]["sd_model_checkpoint"].split(".")[0]
            data = picture(f"{told['prompt']} {told['seed']}", told["width"], told["height"])
            info = {
                "seed": told["seed"],
                "job_timestamp": self._job_timestamp(),
                "sd_model_hash": str(self.hashes[name])[:10],
                "sd_model_name": name,
            }
            reply = as_json(
                {"images": [base64.b64encode(data).decode()], "parameters": told, "info": json.dumps(info)}
            )
            if self.kept is not None:
                self.kept[kept] = reply
            return reply
        return as_json({"detail": "Not Found"}, 404)

    def _job_timestamp(self) -> str:
        return f"20261130{self.jobs:06d}" if self.jobs else "0"


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
    """ComfyUI with the nodes of the standard workflow; a queued prompt is done after `looks` looks at its history.

    History and node cache behave as those of ComfyUI 0.3.64 did when it was tried: a node's key in the cache is its class
    and all inputs, declared or not, down to its remotest ancestor; a prompt's end drops the keys it did not use; what is
    cached is not run, and a saver that is cached answers with the file that it wrote then.
    """

    def __init__(self, looks: int = 2, own_ids: bool = False, silent: bool = False) -> None:
        super().__init__()
        self.looks = looks
        self.own_ids = own_ids  # as servers before 0.3.40 do
        self.silent = silent  # its history has no messages, as that of servers of 2023
        self.looks_left: dict[str, int] = {}
        self.history: dict[str, dict[str, Any]] = {}
        self.cache: dict[str, dict[str, Any]] = {}  # by key: what the node shows in the history
        self.files: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.careless: frozenset[str] = frozenset()  # classes whose nodes its cache knows by the class alone
        self.sampled = 0  # times that the KSampler ran

    def is_drawing(self, request: Request) -> bool:
        return request.method == "POST" and request.path == "/prompt"

    def key(self, graph: dict[str, Any], node: str) -> str:
        """A node's key in the cache."""
        if graph[node]["class_type"] in self.careless:
            return str(graph[node]["class_type"])
        inputs = {
            name: [self.key(graph, value[0]), value[1]] if isinstance(value, list) else value
            for name, value in graph[node]["inputs"].items()
        }
        return json.dumps([graph[node]["class_type"], inputs], sort_keys=True)

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
            return as_json(self._looked_at(path.rsplit("/", 1)[1]))
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
        (sampler,) = [key for key, node in graph.items() if node["class_type"] == "KSampler"]
        if graph[sampler]["inputs"]["steps"] < 1:
            errors = {sampler: {"errors": [{"message": "Value smaller than min", "details": "steps"}]}}
            return as_json({"error": {"message": "invalid"}, "node_errors": errors}, 400)
        with self.lock:
            number = f"own-{len(self.history)}" if self.own_ids else told["prompt_id"]
            self.history[number] = self._run(number, graph, sampler)
            self.looks_left[number] = self.looks
        return as_json({"prompt_id": number, "number": 1, "node_errors": {}})

    def _run(self, number: str, graph: dict[str, Any], sampler: str) -> dict[str, Any]:
        """Run what the node cache lacks; the history's entry."""
        keys = {node: self.key(graph, node) for node in graph}
        self.cache = {key: shown for key, shown in self.cache.items() if key in keys.values()}
        cached = [node for node in graph if keys[node] in self.cache]
        messages: list[Any] = [
            ["execution_start", {"prompt_id": number, "timestamp": 1796067576000}],
            ["execution_cached", {"nodes": cached, "prompt_id": number, "timestamp": 1796067576010}],
        ]
        inputs = graph[sampler]["inputs"]
        words = graph[inputs["positive"][0]]["inputs"]["text"]
        failed = "explode" in words
        if failed:
            error = {"node_id": sampler, "node_type": "KSampler", "exception_message": "boom"}
            messages.append(["execution_error", error])
        else:
            self.sampled += sampler not in cached
            plain = {name: value for name, value in inputs.items() if not isinstance(value, list)}
            drawn = picture(f"{words} {plain}", *_sides(graph, inputs["latent_image"][0]))
            for node in graph:
                if node not in cached:
                    self.cache[keys[node]] = self._shown(graph[node], drawn)
            messages.append(["execution_success", {"prompt_id": number, "timestamp": 1796067580200}])
        return {
            "prompt": [1, number, graph, {"client_id": "nonesuch"}, []],
            "outputs": {node: self.cache[keys[node]] for node in graph if self.cache.get(keys[node])},
            "status": {
                "status_str": "error" if failed else "success",
                "completed": not failed,
                "messages": [] if self.silent and not failed else messages,
            },
        }

    def _shown(self, node: dict[str, Any], drawn: bytes) -> dict[str, Any]:
        if node["class_type"] != "SaveImage":
            return {}
        prefix = node["inputs"]["filename_prefix"].replace("/", "_")
        count = 1 + sum(name.startswith(f"{prefix}_") for name in self.files)
        name = f"{prefix}_{count:05d}_.png"
        self.files[name] = drawn
        return {"images": [{"filename": name, "subfolder": "", "type": "output"}]}

    def _looked_at(self, number: str) -> dict[str, Any]:
        if number not in self.history:
            return {}
        self.looks_left[number] -= 1
        return {number: self.history[number]} if self.looks_left[number] < 0 else {}


def _sides(graph: dict[str, Any], latent: str) -> tuple[int, int]:
    """Of an empty latent; of an encoded picture 64x64."""
    inputs = graph[latent]["inputs"]
    return int(inputs.get("width", 64)), int(inputs.get("height", 64))


class ServiceServer(Server):
    """What the three services share: a key, a picture that may carry a credential, and answers to requests that are
    sent again with the same Idempotency-Key."""

    def __init__(self, sign: Callable[[bytes], bytes] | None = None) -> None:
        super().__init__()
        self.sign = sign or (lambda data: data)
        self.answered: dict[str, Reply] = {}

    def handle(self, request: Request) -> Reply:
        key = request.headers.get("idempotency-key", "")
        if key in self.answered:
            self.requests.append(request)
            return self.answered[key]
        reply = super().handle(request)
        if key and reply.status == 200 and not reply.cut:
            self.answered[key] = reply
        return reply

    def image(self, words: str, width: int, height: int, seed: Any = None) -> str:
        """Another picture for each request, where there is no seed."""
        chance = len(self.requests) if seed is None else seed
        return base64.b64encode(self.sign(picture(f"{words} {chance}", width, height))).decode()


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
            artifact = {"base64": self.image(told["text_prompts"][0]["text"], 64, 64, told["seed"]), "seed": told["seed"],
                        "finishReason": "SUCCESS"}  # fmt: skip
            return as_json({"artifacts": [artifact]})
        form = request.form
        if "forbidden" in form["prompt"]:
            return as_json({"id": "1", "name": "content_moderation", "errors": ["flagged"]}, 403)
        filtered = "nude" in form["prompt"]
        told = {"image": self.image(form["prompt"], 64, 64, form["seed"]), "seed": int(form["seed"]),
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
