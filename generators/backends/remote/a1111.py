"""The HTTP API of AUTOMATIC1111's web UI, which Forge and SD.Next speak too.

After modules/api/api.py and modules/api/models.py of stable-diffusion-webui 1.10, started with --api:
/sdapi/v1/sd-models, options, samplers, txt2img, img2img, progress, interrupt. With --api-auth the key is
`user:password`. Not tried against a real one.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from PIL import Image

from nonesuch.foundation.errors import DrawingError, InputError
from nonesuch.foundation.images import RGB
from nonesuch.generators.backends.base import Origin
from nonesuch.generators.backends.remote.drawing import Picture
from nonesuch.generators.backends.remote.http import Answer, Caller, NoImage, Problem
from nonesuch.generators.init_images import DEFAULT_FIT, start_mask, start_picture
from nonesuch.generators.models import Defaults, ModelFacts
from nonesuch.generators.recipe import Recipe

# Friendly scheduler names in the web UI's words: sampler, and schedule where it has one (since 1.9).
SAMPLERS: Final[dict[str, tuple[str, str | None]]] = {
    "ddim": ("DDIM", None),
    "dpmpp_2m": ("DPM++ 2M", "Automatic"),
    "dpmpp_2m_karras": ("DPM++ 2M", "Karras"),
    "dpmpp_2m_sde": ("DPM++ 2M SDE", "Automatic"),
    "dpmpp_2m_sde_karras": ("DPM++ 2M SDE", "Karras"),
    "dpmpp_2s": ("DPM++ 2S a", "Automatic"),
    "euler": ("Euler", "Automatic"),
    "euler_karras": ("Euler", "Karras"),
    "euler_a": ("Euler a", "Automatic"),
    "heun": ("Heun", "Automatic"),
    "kdpm2": ("DPM2", "Automatic"),
    "kdpm2_a": ("DPM2 a", "Automatic"),
    "lcm": ("LCM", "Automatic"),
    "lms": ("LMS", "Automatic"),
    "pndm": ("PLMS", None),
    "unipc": ("UniPC", None),
}
DEFAULTS: Final = Defaults(width=512, height=512, steps=20, guidance_scale=7.0)
# Fields of a request that the recipe decides.
_OWN: Final = frozenset(
    {"prompt", "negative_prompt", "seed", "steps", "cfg_scale", "width", "height", "batch_size", "n_iter",
     "init_images", "mask", "denoising_strength", "send_images", "save_images", "override_settings"}
)  # fmt: skip


class A1111:
    """A painter that speaks to one web UI."""

    def __init__(self, facts: ModelFacts, caller: Caller) -> None:
        self._facts = facts
        self._caller = caller
        self._title = facts.revision or ""

    def ready(self) -> None:
        """Ask whether it is there."""
        self._caller.ask("GET", "/sdapi/v1/options")

    def check(self, recipe: Recipe) -> None:
        """Refuse a sampler that it does not have, and options that the recipe's own fields decide."""
        for name, _ in recipe.options:
            if name in _OWN:
                raise InputError(f"the option {name!r} is a setting of the sweep", where="options")
        wanted = self._sampler(recipe).get("sampler_name")
        if wanted is None:
            return
        listed = self._caller.ask("GET", "/sdapi/v1/samplers").json()
        known = {str(one.get("name")) for one in listed if isinstance(one, dict)}
        known |= {str(alias) for one in listed if isinstance(one, dict) for alias in one.get("aliases", ())}
        if wanted not in known:
            raise InputError(
                f"{self._caller.what} has no sampler {wanted!r}",
                where="scheduler",
                hint=f"It has: {', '.join(sorted(known)[:30])}.",
            )

    def paint(self, recipe: Recipe, *, anew: bool = False) -> Picture:
        """One image from text, from an image, or into a mask. The web UI keeps no images to answer with; `anew`
        also looks for the job that drew it."""
        task = f"nonesuch-{recipe.id[:16]}" + (f"-{uuid4().hex[:12]}" if anew else "")
        last_job = self._last_job() if anew else ""
        request: dict[str, Any] = {
            "prompt": recipe.prompt,
            "negative_prompt": recipe.negative_prompt,
            "seed": recipe.seed % 2**32,
            "steps": recipe.steps,
            "cfg_scale": recipe.guidance_scale,
            "width": recipe.width,
            "height": recipe.height,
            "batch_size": 1,
            "n_iter": 1,
            "send_images": True,
            "save_images": False,
            "do_not_save_grid": True,
            "do_not_save_samples": True,
            "override_settings": {"sd_model_checkpoint": self._title},
            # The checkpoint stays loaded for the next image.
            "override_settings_restore_afterwards": False,
            "force_task_id": task,
            **self._sampler(recipe),
            **{name: value for name, value in recipe.options if name not in _OWN},
        }
        path = "/sdapi/v1/txt2img"
        if recipe.init_image is not None:
            path = "/sdapi/v1/img2img"
            request |= _start(recipe)
        answer = self._caller.ask("POST", path, judge=_judge, json=request).json()
        images = answer.get("images") if isinstance(answer, dict) else None
        if not isinstance(images, list) or not images or not isinstance(images[0], str):
            raise NoImage("the answer holds no image")
        info = _info(answer.get("info"))
        told: dict[str, Any] = {
            name: info[name]
            for name in ("seed", "sampler_name", "sd_model_name", "sd_model_hash", "version")
            if name in info
        }
        self._check_model(told.get("sd_model_hash"))
        origin = _origin(task, last_job, answer.get("parameters"), info.get("job_timestamp"))
        return Picture(_decoded(images[0]), told, origin=origin)

    def close(self) -> None:
        """End waits and let connections go."""
        self._caller.close()

    def _last_job(self) -> str:
        """When the web UI began its last job, by its own clock; "" when it does not say."""
        try:
            told = self._caller.ask(
                "GET", "/sdapi/v1/progress", params={"skip_current_image": "true"}, retries=0
            ).words()
            return str(told["state"]["job_timestamp"])
        except (DrawingError, KeyError, TypeError):
            return ""

    def _sampler(self, recipe: Recipe) -> dict[str, str]:
        if recipe.scheduler == "default":
            return {}
        if recipe.scheduler not in SAMPLERS:
            raise InputError(
                f"the web UI has no counterpart of the scheduler {recipe.scheduler}",
                where="scheduler",
                hint=f"Use one of {', '.join(SAMPLERS)}, or options: {{sampler_name: …}}.",
            )
        sampler, schedule = SAMPLERS[recipe.scheduler]
        return {"sampler_name": sampler} | ({} if schedule is None else {"scheduler": schedule})

    def _check_model(self, drawn_with: Any) -> None:
        """Refuse an image that another checkpoint drew, as when another user changed it meanwhile."""
        digest = self._facts.digest.removeprefix("sha256:")
        if (
            isinstance(drawn_with, str)
            and drawn_with
            and self._facts.digest.startswith("sha256:")
            and not digest.startswith(drawn_with)
        ):
            raise NoImage(f"another checkpoint drew it ({drawn_with[:10]} instead of {digest[:10]})")


def describe(caller: Caller, wanted: str) -> tuple[str, str]:
    """Title and digest of a checkpoint by its title, name, file name or hash; "" means the one that is loaded.

    The digest is "sha256:…" as the web UI computes it when it first loads a file, so a file without one is loaded
    here; engines that compute none give "name:…". Raises InputError when it has no such checkpoint.
    """
    if not wanted:
        options = caller.ask("GET", "/sdapi/v1/options").json()
        wanted = str(options.get("sd_model_checkpoint") or "") if isinstance(options, dict) else ""
        if not wanted:
            raise InputError(
                f"{caller.what} has no checkpoint loaded", where="model", hint="Name one: a1111:NAME."
            )
    found = _find(caller, wanted)
    if not found.get("sha256"):
        caller.ask("POST", "/sdapi/v1/options", json={"sd_model_checkpoint": found["title"]})
        found = _find(caller, str(found["title"]))
    digest = str(found.get("sha256") or "").lower()
    name = str(found.get("model_name") or found["title"])
    return str(found["title"]), f"sha256:{digest}" if digest else f"name:a1111/{name}"


def _find(caller: Caller, wanted: str) -> Mapping[str, Any]:
    listed = caller.ask("GET", "/sdapi/v1/sd-models").json()
    models = [one for one in listed if isinstance(one, dict) and one.get("title")]
    bare = wanted.split(" [")[0]
    for model in models:
        file = Path(str(model.get("filename") or "").replace("\\", "/"))
        names = {
            model["title"],
            str(model["title"]).split(" [")[0],
            model.get("model_name"),
            file.name,
            file.stem,
        }
        if wanted in names | {model.get("hash"), model.get("sha256")} or bare in names:
            return model
    raise InputError(
        f"{caller.what} has no checkpoint {wanted!r}",
        where="model",
        hint=f"It has: {', '.join(str(one.get('model_name')) for one in models[:20]) or 'none'}.",
    )


def _start(recipe: Recipe) -> dict[str, Any]:
    """The fields of what a recipe starts from. Raises InputError when a file has changed or is gone."""
    fit = recipe.fit or DEFAULT_FIT
    size = (recipe.width, recipe.height)
    picture = start_picture(Path(str(recipe.init_image)), str(recipe.init_image_digest), *size, fit)
    fields: dict[str, Any] = {
        "init_images": [as_png(picture)],
        "denoising_strength": recipe.strength,
        "resize_mode": 0,
    }
    if recipe.mask is not None:
        mask = start_mask(Path(recipe.mask), str(recipe.mask_digest), *size, fit)
        fields |= {"mask": as_png(mask), "inpainting_fill": 1, "inpaint_full_res": False}
    return fields


def as_png(picture: RGB) -> str:
    """An array as a PNG in base64."""
    return base64.b64encode(png_bytes(picture)).decode()


def png_bytes(picture: RGB) -> bytes:
    """An array uint8 [H, W] or [H, W, 3] as a PNG file."""
    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, "PNG")
    return packed.getvalue()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoImage(f"the image is not base64 ({error})") from error


def _info(text: Any) -> dict[str, Any]:
    try:
        told = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _origin(task: str, last_job: str, parameters: Any, job: Any) -> Origin:
    """Drawn, when the answer repeats this request's own task and names a job that is not the last one before it."""
    repeated = isinstance(parameters, dict) and parameters.get("force_task_id") == task
    if repeated and last_job and isinstance(job, str) and job and job != last_job:
        return Origin(True, f"drawn by the web UI: it began the job {job} for the task {task}")
    return Origin(None, "the web UI does not say whether it drew")


def _judge(answer: Answer) -> Problem | None:
    """Errors of one image are 500 with the exception's name; another try would meet them again."""
    told = answer.words()
    error = str(told.get("error") or "") if isinstance(told, dict) else ""
    if answer.status == 500 and error:
        words = str(told.get("errors") or told.get("detail") or "")
        return Problem("recipe", f"failed: {error}: {words}")
    if answer.status in (404, 422):
        return Problem("recipe", f"refuses the request: {json.dumps(told.get('detail', ''))}")
    return None
