"""The model cards of the two shipped folders, written from measured values."""

from __future__ import annotations

from typing import Any

from nonesuch.training.workshop.world.pairs import HELD_OUT, STYLES, SUBJECTS
from nonesuch.training.workshop.world.wordings import DOCUMENTED_ARTISTS

_COMMON = """## Training data and licences

Every training picture is drawn by this repository's `training/workshop/world/pairs.py`: a glyph of Noto Color
Emoji (SIL Open Font License 1.1; Debian package `fonts-noto-color-emoji`) on a computed background,
turned into a style by image processing. No photograph, no scan of an artwork and no third-party
weights were used. The weights are licensed under Apache-2.0, like the code.

## How it was trained

    python -m nonesuch.training.workshop all --out DIR

The preset `cpu` in `training/workshop/config.py` holds the sizes and a budget in minutes for every stage;
`--preset gpu --device cuda` trains larger models (none was trained so far). Schedules follow
wall-clock time, so another machine gives other weights. These weights took, each stage on one core
that other work partly shared:

"""


def _training_section(figures: dict[str, Any]) -> str:
    rows = [
        f"| `{stage}` | {took['steps']} | {took['minutes']:.0f} |"
        for stage, took in figures["trained"].items()
    ]
    table = "\n".join([_COMMON + "| stage | steps | minutes |", "|---|---|---|", *rows]) + "\n"
    table += (
        "\nThe stages `draw`, `encode`, `judge` and `aesthetic` ran too; they are short and keep no count.\n"
    )
    return table


def _goals(rows: list[tuple[str, float, float]]) -> str:
    """A table of what was measured against what was aimed at; shares as 0 to 1."""
    lines = [
        f"| {name} | {_percent(aim)} | {_percent(got)} | {'met' if got >= aim else '**not met**'} |"
        for name, got, aim in rows
    ]
    return "\n".join(["| goal | at least | measured | |", "|---|---|---|---|", *lines])


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _held_out_list() -> str:
    return ", ".join(f"{subject} × {style}" for subject, style in HELD_OUT.items())


def generator_card(figures: dict[str, Any], machine: str, date: str) -> str:
    """Card of the pipeline folder."""
    seen, unseen = figures["prompts"], figures["prompts_held_out"]
    judge, decoded = figures["judge_on_drawn"], figures["judge_on_decoded"]
    settings = figures["settings"]
    goals = _goals(
        [
            ("subject right, pairs seen in training", seen["subject"], 0.85),
            ("style right, pairs seen in training", seen["style"], 0.85),
            ("both right, held-out pairs", unseen["both"], 0.60),
        ]
    )
    fast = figures["images_per_second"] >= 3.0
    return f"""# Embedded pipeline

A small `StableDiffusionPipeline` that draws {len(SUBJECTS)} subjects in {len(STYLES)} styles at
128×128 pixels on a CPU. It exists so that nonesuch can be tried, tested and demonstrated at once;
it knows its own small world and nothing else.

    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained("generators/embedded").to(torch.float32)
    image = pipe(
        "a painting of a panda by Katsushika Hokusai", width=128, height=128,
        num_inference_steps={settings["steps"]}, guidance_scale={settings["guidance"]},
    ).images[0]

The files hold half-precision weights; the caller chooses the type they are loaded as.
`defaults.json` holds the default settings and the word lists.

## Parts

- `unet`: UNet2DConditionModel, v-prediction, 16×16 latents of 8 channels.
- `vae`: AutoencoderKL, 8 times smaller per side.
- `text_encoder`, `tokenizer`: the text tower and the byte-level BPE of the embedded CLIP
  (`scoring/embedded`); 77 tokens.
- `scheduler`: DPMSolverMultistepScheduler (DPM-Solver++ 2M).

## What it draws

Subjects: {", ".join(SUBJECTS)}.

Artists: {", ".join(DOCUMENTED_ARTISTS)}; also "a photo of", "a pencil sketch of", "pixel art".
A style is this project's image filter that borrows an artist's name; it is no copy of any artwork
and should not be taken for the artist's hand. A subject without a style gives the plain picture.

## Measured ({date}, {machine})

A separate small network, trained on its own drawings and not shipped, says which subject and which
style a picture shows. On freshly *drawn* pictures it is right on the subject for
{_percent(judge["subject"])}, on the style for {_percent(judge["style"])}, on both for
{_percent(judge["both"])}; on drawn pictures that went through the autoencoder and back for
{_percent(decoded["subject"])}, {_percent(decoded["style"])} and {_percent(decoded["both"])}. The
figures below can hardly exceed those.

| prompts, {settings["steps"]} steps, guidance {settings["guidance"]}, fresh seeds | number | subject right | style right | both right |
|---|---|---|---|---|
| pairs seen in training | {seen["prompts"]:.0f} | {_percent(seen["subject"])} | {_percent(seen["style"])} | {_percent(seen["both"])} |
| held-out pairs | {unseen["prompts"]:.0f} | {_percent(unseen["subject"])} | {_percent(unseen["style"])} | {_percent(unseen["both"])} |

{goals}

The goal for speed, 3 images/s on two cores, is {"met" if fast else "**not met**"}: see below.

Held out means that neither the CLIP nor the UNet saw the pair, while both saw its subject and its
style in other pairs: {_held_out_list()}.

Autoencoder: {figures["autoencoder_psnr_db"]:.1f} dB PSNR on freshly drawn pictures. Its decoder was
trained for the right textures rather than for the nearest pixels, which costs some of that.

Speed: {figures["images_per_second"]:.2f} images/s in float32 with {figures["threads"]} thread(s),
batches of 16, text encoding and decoding included.

## Limits

- Words outside the lists above have no meaning to it; it will draw one of its subjects.
- One subject per picture; no counting, no relations, no text, no people.
- Small details (eyes, spokes, piano keys) come out soft or broken.
- Trained at 128×128 only; other sizes give repeated or torn subjects.
- "blurry", "noisy", "blocky" and "washed out" were seen with damaged pictures (3 % of the set), so
  they work as negative prompts, weakly.
- It has no safety checker; its world holds nothing that would need one.

{_training_section(figures)}"""


def scoring_card(figures: dict[str, Any], machine: str, date: str) -> str:
    """Card of the open_clip folder."""
    clip, order = figures["clip"], figures["aesthetic"]
    goals = _goals(
        [
            ("own caption ranked first, pairs seen in training", clip["caption_first"], 0.85),
            ("clean picture above damaged one", order["clean_first"], 0.90),
        ]
    )
    return f"""# Embedded CLIP and aesthetic head

A small CLIP in open_clip's format for 128×128 pictures of the world drawn by `training/workshop/world/pairs.py`,
and a head on its picture embedding that prefers clean pictures over damaged ones.

    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms("local-dir:scoring/embedded")
    tokenizer = open_clip.get_tokenizer("local-dir:scoring/embedded")
    model.float().eval()

The path after `local-dir:` may be absolute. `preprocess` resizes to 128×128 (bicubic, squashed) and
maps RGB to -1..1.

The head is `Linear({figures["head"]["embed"]}, {figures["head"]["hidden"]})`, GELU, `Linear({figures["head"]["hidden"]}, 1)` on the embedding divided by its
Euclidean norm; weights in `aesthetic.safetensors`, shape in `aesthetic.json`:

    from safetensors.torch import load_file
    from torch import nn

    head = nn.Sequential(nn.Linear({figures["head"]["embed"]}, {figures["head"]["hidden"]}), nn.GELU(), nn.Linear({figures["head"]["hidden"]}, 1))
    head.load_state_dict({{k: v.float() for k, v in load_file("scoring/embedded/aesthetic.safetensors").items()}})
    score = head(model.encode_image(batch, normalize=True))

## Measured ({date}, {machine})

{clip["pictures"]:.0f} freshly drawn pictures against all {clip["captions"]:.0f} subject × style captions:

| | right |
|---|---|
| own caption ranked first, pairs seen in training | {_percent(clip["caption_first"])} |
| own caption ranked first, held-out pairs | {_percent(clip["caption_first_held_out"])} |
| subject of the best caption, all pictures | {_percent(clip["subject"])} |
| style of the best caption, all pictures | {_percent(clip["style"])} |
| best among captions that name only a subject, all pictures | {_percent(clip["subject_words_alone"])} |

Held-out pairs (`held_out` in `generators/embedded/defaults.json`) were in no training caption and
no training picture of the CLIP.

Aesthetic head: on {order["pairs"]:.0f} fresh pairs of a drawn picture and the same picture damaged (blur,
noise, JPEG blocks, washed-out colour, decoding of noised latents) the clean one scores higher in
{_percent(order["clean_first"])}. Mean score {order["mean_clean"]:.1f} clean, {order["mean_damaged"]:.1f} damaged, on a scale of
about 0 to 10. That is all it measures: no taste, no composition, no human preference.

{goals}

## Intended use and limits

For tests, demonstrations and offline use of nonesuch with the embedded pipeline, whose text encoder
is this CLIP's text tower. It does not understand photographs or words outside its world; take a
public CLIP for real pictures. Scores of different CLIPs cannot be compared.

{_training_section(figures)}"""
