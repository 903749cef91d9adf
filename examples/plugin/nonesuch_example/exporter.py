"""The export format `captions`: each image with its prompt in a text file beside it, as many trainers take them."""

from __future__ import annotations

from pathlib import PurePath

from nonesuch.plugins import ExportJob, Layout, Stage


class Captions:
    """NAME.png and NAME.txt for each image."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        for picture in job.selection.pictures():
            stage.put(picture.name, picture.data)
            stage.put(f"{PurePath(picture.name).stem}.txt", str(picture.row["prompt"]).encode())
            job.count()
        return Layout(
            files=[("*.png", "the images, bit for bit"), ("*.txt", "the prompt of the image of that name")],
            loading="ls PATH/*.txt",
            language="sh",
            columns={"prompt": "prompt"},
        )
