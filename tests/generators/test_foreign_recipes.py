"""Recipes of ComfyUI and AUTOMATIC1111 as sweep files: what is taken over is drawn so, the rest is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.resweep import Resweep, again
from nonesuch.generators.sweepfile.sweep import make_sweep
from tests.command_line import nonesuch


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def sampler(**changed: Any) -> dict[str, Any]:
    usual = {
        "seed": 5, "steps": 20, "cfg": 7.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0,
        "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
    }  # fmt: skip
    return node("KSampler", **{**usual, **changed})


BASE: dict[str, Any] = {
    "3": sampler(),
    "4": node("CheckpointLoaderSimple", ckpt_name="dream.safetensors"),
    "5": node("EmptyLatentImage", width=64, height=128, batch_size=1),
    "6": node("CLIPTextEncode", text="a fox", clip=["4", 1]),
    "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
    "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    "9": node("SaveImage", images=["8", 0]),
}


def graph_sweep(changed: dict[str, Any], **more: Any) -> Resweep:
    return again({"source": "comfyui", "graph": {**BASE, **changed}, **more}, name="foreign")


def drawn_by(made: Resweep, model: str = "noise", **changed: Any) -> Recipe:
    """The recipe of the sweep; noise stands in for the checkpoint."""
    (recipe,) = open_matrix(make_sweep({**made.data, "model": model, **changed}))
    return recipe


class TestComfyUI:
    def test_the_plain_workflow_loses_nothing(self) -> None:
        made = graph_sweep({})
        assert made.left_out == ()
        recipe = drawn_by(made)
        assert (recipe.prompt, recipe.negative_prompt, recipe.seed) == ("a fox", "blurry", 5)
        assert (recipe.width, recipe.height, recipe.steps, recipe.scheduler) == (
            64,
            128,
            20,
            "dpmpp_2m_karras",
        )
        assert made.data["model"] == "dream.safetensors"

    def test_a_second_sampler_after_a_larger_latent_is_the_high_resolution_pass(self) -> None:
        later = sampler(latent_image=["10", 0], denoise=0.5, steps=10, seed=6, cfg=5.0)
        made = graph_sweep(
            {
                # ids in another order than the samplers ran
                "2": later, "10": node("LatentUpscaleBy", samples=["3", 0], scale_by=1.5),
                "8": node("VAEDecode", samples=["2", 0], vae=["4", 2]),
            }
        )  # fmt: skip
        assert made.data["settings"]["hires"] == {
            "scale": 1.5, "strength": 0.5, "upscaler": "latent", "steps": 20,
        }  # fmt: skip
        assert made.data["seeds"] == [5]
        assert made.left_out == ("What its second pass had of its own is lost (node 2 KSampler): cfg 5.0.",)

    def test_a_picture_that_a_network_enlarged_between_the_samplers_names_the_network(self) -> None:
        made = graph_sweep(
            {
                "10": node("ImageUpscaleWithModel", upscale_model=["11", 0], image=["12", 0]),
                "11": node("UpscaleModelLoader", model_name="4x-net.pth"),
                "12": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
                "13": node("ImageScale", image=["10", 0], width=128, height=256, upscale_method="area"),
                "14": node("VAEEncode", pixels=["13", 0], vae=["4", 2]),
                "15": sampler(latent_image=["14", 0], denoise=0.4),
                "8": node("VAEDecode", samples=["15", 0], vae=["4", 2]),
            }
        )
        assert made.data["settings"]["hires"] == {
            "scale": 2.0, "strength": 0.4, "upscaler": "4x-net.pth", "steps": 50,
        }  # fmt: skip
        assert made.left_out == (
            "Its upscaler '4x-net.pth' (node 10 ImageUpscaleWithModel) is not here: 4x-net.pth. Put it at 4x-net.pth.",
        )

    def test_the_last_steps_of_another_checkpoint_are_the_refiner_s(self) -> None:
        advanced = {"noise_seed": 5, "steps": 25, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"}
        texts = {"positive": ["6", 0], "negative": ["7", 0]}
        first = node(
            "KSamplerAdvanced", **advanced, **texts, model=["4", 0], latent_image=["5", 0], start_at_step=0, end_at_step=20
        )  # fmt: skip
        second = node(
            "KSamplerAdvanced", **advanced, **texts, model=["20", 0], latent_image=["3", 0], start_at_step=20,
            end_at_step=10_000,
        )  # fmt: skip
        loader = node("CheckpointLoaderSimple", ckpt_name="refiner.safetensors")
        changed = {
            "3": first,
            "21": second,
            "20": loader,
            "8": node("VAEDecode", samples=["21", 0], vae=["4", 2]),
        }
        made = graph_sweep(changed)
        assert made.data["settings"]["refiner"] == {"model": "refiner.safetensors", "at": 0.8}
        assert made.data["settings"]["steps"] == 25
        assert "node 21 KSamplerAdvanced" in made.left_out[0]
        # the same checkpoint in two halves is one drawing
        halves = graph_sweep({**changed, "20": node("CheckpointLoaderSimple", ckpt_name="dream.safetensors")})
        assert "refiner" not in halves.data["settings"]
        assert halves.left_out == ()

    def test_controls_keep_their_sides_and_name_what_has_to_be_brought(self) -> None:
        made = graph_sweep(
            {
                "3": sampler(positive=["10", 0], negative=["10", 1]),
                "10": node(
                    "ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["11", 0], image=["12", 0],
                    strength=0.7, start_percent=0.0, end_percent=0.8,
                ),
                "11": node("ControlNetLoader", control_net_name="canny.safetensors"),
                "12": node("Canny", image=["13", 0], low_threshold=0.4, high_threshold=0.8),
                "13": node("LoadImage", image="../../etc/pose.png"),
            }
        )  # fmt: skip
        assert (made.data["prompt"], made.data["negative"]) == ("a fox", "blurry")
        assert made.data["settings"]["control"] == {
            "model": "canny.safetensors", "image": "pose.png", "preprocess": "canny", "low": 102, "high": 204,
            "scale": 0.7, "start": 0.0, "end": 0.8,
        }  # fmt: skip
        assert [line for line in made.left_out if "node 10 ControlNetApplyAdvanced" in line] == list(
            made.left_out
        )
        assert any("pose.png" in line for line in made.left_out)

    def test_loras_are_stacked_in_order_and_found_where_they_lie(self) -> None:
        changed = {
            "3": sampler(model=["11", 0]),
            "10": node("LoraLoader", lora_name="style\\ink.safetensors", strength_model=0.8, strength_clip=0.5,
                       model=["4", 0], clip=["4", 1]),
            "11": node("Power Lora Loader (rgthree)", model=["10", 0], clip=["10", 1],
                       lora_1={"on": True, "lora": "hat.safetensors", "strength": 1.2},
                       lora_2={"on": False, "lora": "off.safetensors", "strength": 1.0}),
        }  # fmt: skip
        recipe = {"source": "comfyui", "graph": {**BASE, **changed}}
        made = again(
            recipe, name="x", find=lambda _, name: f"/mine/{name}" if name == "ink.safetensors" else None
        )
        assert made.data["settings"]["loras"] == [
            {"path": "/mine/ink.safetensors", "weight": 0.8}, {"path": "hat.safetensors", "weight": 1.2},
        ]  # fmt: skip
        assert len(made.left_out) == 2
        assert "0.5 for the text encoder is lost (node 10 LoraLoader)" in made.left_out[0]
        assert "'hat.safetensors' (node 11 Power Lora Loader (rgthree)) is not here" in made.left_out[1]

    def test_what_has_no_counterpart_is_named_with_node_and_class(self) -> None:
        made = graph_sweep(
            {
                "3": sampler(model=["20", 0], scheduler="sgm_uniform"),
                "20": node("FreeU_V2", model=["21", 0], b1=1.3),
                "21": node("IPAdapterAdvanced", model=["4", 0], image=["22", 0], weight=0.8),
                "22": node("LoadImage", image="look.png"),
                "30": node("VAELoader", vae_name="own.vae.pt"),
                "8": node("VAEDecode", samples=["3", 0], vae=["30", 0]),
                "31": node("FaceDetailer", image=["8", 0], model=["4", 0]),
                "9": node("SaveImage", images=["31", 0]),
                "99": node("FreeU", model=["4", 0]),  # leads to no image
            }
        )
        told = "\n".join(made.left_out)
        for words in (
            "'sgm_uniform'", "node 21 IPAdapterAdvanced", "'look.png'", "node 30 VAELoader", "31 FaceDetailer",
            "20 FreeU_V2",
        ):  # fmt: skip
            assert words in told, words
        assert "99" not in told

    def test_a_picture_to_start_from_and_its_share_of_the_steps(self) -> None:
        made = graph_sweep(
            {
                "3": sampler(latent_image=["40", 0], denoise=0.5),
                "40": node("VAEEncode", pixels=["41", 0], vae=["4", 2]),
                "41": node("LoadImage", image="me.png"),
            }
        )
        assert made.data["settings"]["init_image"] == "me.png"
        assert (made.data["settings"]["strength"], made.data["settings"]["steps"]) == (0.5, 40)

    def test_a_flux_workflow_of_single_parts_is_read(self) -> None:
        graph = {
            "1": node("UNETLoader", unet_name="flux1-dev.safetensors"),
            "2": node("DualCLIPLoader", clip_name1="t5.safetensors", clip_name2="clip.safetensors"),
            "3": node("CLIPTextEncode", text="a fox", clip=["2", 0]),
            "4": node("FluxGuidance", conditioning=["3", 0], guidance=3.5),
            "5": node("BasicGuider", model=["1", 0], conditioning=["4", 0]),
            "6": node("KSamplerSelect", sampler_name="euler"),
            "7": node("BasicScheduler", model=["1", 0], scheduler="normal", steps=30, denoise=1.0),
            "8": node("RandomNoise", noise_seed=77),
            "9": node("EmptySD3LatentImage", width=1024, height=768, batch_size=1),
            "10": node("SamplerCustomAdvanced", noise=["8", 0], guider=["5", 0], sampler=["6", 0], sigmas=["7", 0],
                       latent_image=["9", 0]),
            "11": node("VAEDecode", samples=["10", 0], vae=["12", 0]),
            "12": node("VAELoader", vae_name="ae.safetensors"),
            "13": node("SaveImage", images=["11", 0]),
        }  # fmt: skip
        made = again({"source": "comfyui", "graph": graph}, name="flux")
        recipe = drawn_by(made)
        assert (recipe.prompt, recipe.seed, recipe.steps, recipe.guidance_scale) == ("a fox", 77, 30, 3.5)
        assert (recipe.width, recipe.height, recipe.scheduler) == (1024, 768, "euler")
        assert len(made.left_out) == 1
        assert "12 VAELoader" in made.left_out[0]

    @given(
        st.dictionaries(
            st.sampled_from(sorted(BASE)),
            st.builds(
                node,
                st.sampled_from(["KSampler", "LatentUpscale", "LoraLoader", "ControlNetApply", "VAEDecode", "SaveImage"]),
            )
            | st.none()
            | st.text(max_size=3),
        ),
        st.dictionaries(st.sampled_from(["seed", "steps", "cfg", "denoise", "model", "positive", "latent_image"]),
                        st.lists(st.sampled_from(sorted(BASE)) | st.integers(0, 9), min_size=2, max_size=2)
                        | st.none() | st.floats() | st.text(max_size=3) | st.booleans()),
    )  # fmt: skip
    def test_any_graph_of_a_stranger_is_a_sweep_file(
        self, nodes: dict[str, Any], inputs: dict[str, Any]
    ) -> None:
        made = graph_sweep({**nodes, "3": sampler(**inputs)})
        assert made.text().startswith(("#", "name"))

    def test_the_words_of_a_stranger_stay_in_their_comment(self, tmp_path: Path) -> None:
        from nonesuch.generators.sweepfile.sweep import load_sweep

        hostile = "Free\nmodel: evil\x1b[2J"
        made = graph_sweep({"3": sampler(model=["20", 0]), "20": node(hostile, model=["4", 0])})
        (tmp_path / "s.yaml").write_text(made.text())
        assert load_sweep(tmp_path / "s.yaml").model == "dream.safetensors"
        assert "\x1b" not in "".join(made.left_out)
        assert "Free model: evil" in made.left_out[0]

    def test_the_command_says_what_is_lost_on_stderr(self, tmp_path: Path) -> None:
        told = PngInfo()
        told.add_text(
            "prompt",
            json.dumps({**BASE, "3": sampler(model=["20", 0]), "20": node("FreeU_V2", model=["4", 0])}),
        )
        pixels = np.random.default_rng(1).integers(0, 255, (128, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "comfy.png", pnginfo=told)
        done = nonesuch("recipe", tmp_path / "comfy.png")
        assert done.returncode == 0, done.stderr
        assert "node 20 FreeU_V2" in done.stderr
        assert "scheduler: dpmpp_2m_karras" in done.stdout


def a1111_sweep(prompt: str, line: str) -> Resweep:
    from nonesuch.formats.a1111 import parse

    told = parse(
        f"{prompt}\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, "
        f"Seed: 5, Size: 512x768, Model hash: abc, Model: dream, {line}, Version: v1.10.1"
    )
    assert told is not None
    return again({"source": "automatic1111", **told.recipe()}, name="foreign", model="noise")


class TestAutomatic1111:
    def test_the_schedule_type_belongs_to_the_sampler(self) -> None:
        made = a1111_sweep("a fox", "Batch size: 1")
        assert made.data["settings"]["scheduler"] == "dpmpp_2m_karras"
        assert made.left_out == ()

    def test_a_second_pass_to_a_size_and_its_own_settings(self) -> None:
        made = a1111_sweep(
            "a fox",
            "Denoising strength: 0.4, Hires resize: 1024x1536, Hires upscaler: Latent, Hires sampler: Euler a",
        )
        assert made.data["settings"]["hires"] == {"scale": 2.0, "upscaler": "latent", "strength": 0.4}
        assert made.left_out == (
            "Its second pass had settings of its own, which are lost (Hires sampler: Euler a).",
        )
        other = a1111_sweep(
            "a fox", "Denoising strength: 0.4, Hires resize: 1024x1024, Hires upscaler: Latent"
        )
        assert "hires" not in other.data["settings"]
        assert "width: 1024; height: 1024" in other.left_out[0]

    def test_refiner_clip_skip_and_variation_are_taken_over(self) -> None:
        made = a1111_sweep(
            "a fox",
            "Refiner: sd_xl_refiner_1.0 [7440042bbd], Refiner switch at: 0.8, Clip skip: 2, Variation seed: 9, "
            "Variation seed strength: 0.25",
        )
        kept = made.data["settings"]
        assert kept["refiner"] == {"model": "sd_xl_refiner_1.0", "at": 0.8}
        assert kept["options"] == {"clip_skip": 1}
        assert kept["between"] == {"seed": 9, "at": 0.25}
        assert len(made.left_out) == 1
        assert "folder or hub id" in made.left_out[0]

    def test_a_variation_is_drawn_on_the_way_between_both_seeds(self) -> None:
        made = a1111_sweep("a fox", "Variation seed: 9, Variation seed strength: 0.25")
        made.data["settings"] |= {"width": 128, "height": 128}
        recipe = drawn_by(made, "embedded")
        assert recipe.between is not None
        assert (recipe.seed, recipe.between.seed, recipe.between.at) == (5, 9, 0.25)

    def test_loras_leave_the_prompt_and_weights_keep_their_meaning(self) -> None:
        made = a1111_sweep("a (red:1.3) fox, <lora:ink:0.8>", 'Lora hashes: "ink: 1234"')
        assert made.data["prompt"] == "a (red:1.3) fox"
        assert made.data["settings"]["prompt_syntax"] == "a1111"
        assert made.data["settings"]["loras"] == [{"path": "ink.safetensors", "weight": 0.8}]
        edited = a1111_sweep("a [cat:dog:0.5]", "Batch size: 1")
        assert "prompt_syntax" not in edited.data["settings"]
        assert "prompt editing" in edited.left_out[0]

    def test_controls_with_their_ranges(self) -> None:
        line = (
            'ControlNet 0: "Module: canny, Model: control_canny [d14c016b], Weight: 0.7, Resize Mode: Crop and Resize, '
            'Threshold A: 100, Threshold B: 200, Guidance Start: 0.1, Guidance End: 0.9, Control Mode: Balanced", '
            'ControlNet 1: "preprocessor: depth_midas, model: control_depth [1], weight: 1, starting/ending: (0, 0.5)"'
        )
        made = a1111_sweep("a fox", line)
        first, second = made.data["settings"]["control"]
        assert first == {
            "model": "control_canny", "image": "controlnet-0.png", "preprocess": "canny", "low": 100, "high": 200,
            "scale": 0.7, "start": 0.1, "end": 0.9,
        }  # fmt: skip
        assert second == {
            "model": "control_depth", "image": "controlnet-1.png", "scale": 1.0, "start": 0.0, "end": 0.5,
        }  # fmt: skip
        assert sum("is not here" in line for line in made.left_out) == 2
        assert any("depth_midas" in line for line in made.left_out)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("ADetailer model: face_yolov8n.pt, ADetailer version: 24.1", "ADetailer drew faces again"),
            ("VAE hash: 735e, VAE: sd-vae.pt", "VAE: sd-vae.pt"),
            ("Eta: 0.67, RNG: CPU", "Not taken over: Eta: 0.67; RNG: CPU."),
            ("Face restoration: CodeFormer", "Its faces were restored"),
            ("Denoising strength: 0.6", "drawn from a picture at strength 0.6"),
        ],
    )
    def test_what_is_lost_is_named(self, line: str, words: str) -> None:
        assert any(words in one for one in a1111_sweep("a fox", line).left_out)
