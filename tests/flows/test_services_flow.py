"""Sweeps over a paid service and models of this machine at once: costs, budgets, stops, credentials, comparison."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from nonesuch.foundation.errors import DrawingError, InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "generators"))

from remote_servers import KEY, OpenAIServer, as_json, running

SWEEP = """\
name: side-by-side
prompt: "a {{subject}}"
facets:
  model: [{models}]
  subject: [panda, fox, owl]
seeds: {{count: {seeds}}}
{more}
connections:
  openai: {{url: "{url}", concurrency: 1, retries: 1}}
scoring: {{scorers: [technical]}}
shard_size: 4
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OpenAIServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NONESUCH_CACHE", str(tmp_path / "cache"))
    with running(OpenAIServer()) as started:
        yield started


def swept(folder: Path, url: str, models: str = '"openai:dall-e-3"', seeds: int = 1, more: str = "") -> Path:
    path = folder / "sweep.yaml"
    path.write_text(SWEEP.format(url=url, models=models, seeds=seeds, more=more))
    return path


def run(path: Path, **options: Any) -> Any:
    from nonesuch.flows.sweep import sweep

    return sweep(path, path.parent / "out", **options)


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "out" / "catalog")


@pytest.mark.usefixtures("prefect_server")
class TestServices:
    def test_models_and_services_share_a_sweep_and_are_compared(
        self, tmp_path: Path, server: OpenAIServer
    ) -> None:
        summary = run(swept(tmp_path, server.url, 'noise, "openai:dall-e-3"', seeds=2))
        table = rows(tmp_path)
        assert (summary.done, summary.failed, summary.cost) == (12, 0, pytest.approx(0.24))
        bought = table[table["backend"] == "openai"]
        assert list(bought["cost"]) == [0.04] * 6
        assert list(bought["reproducible"]) == [False] * 6
        assert table[table["backend"] == "noise"]["cost"].isna().all()
        assert json.loads(bought["told"].iloc[0])["revised_prompt"].endswith("revised")
        everything = b"".join(file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file())
        assert KEY.encode() not in everything
        assert not list((tmp_path / "cache" / "paid").rglob("?" * 64))

    def test_a_used_up_quota_ends_the_run_and_what_was_bought_is_not_bought_again(
        self, tmp_path: Path, server: OpenAIServer
    ) -> None:
        path = swept(tmp_path, server.url, seeds=2)
        real = server.answer
        server.answer = lambda request: (  # type: ignore[method-assign]
            as_json({"error": {"code": "insufficient_quota"}}, 429)
            if request.method == "POST" and len(server.drawn()) > 5
            else real(request)
        )
        with pytest.raises(DrawingError, match="no quota left"):
            run(path)
        assert len(rows(tmp_path)) == 5
        server.answer = real  # type: ignore[method-assign]
        assert run(path).done == 1
        assert len(rows(tmp_path)) == 6
        assert len(server.drawn()) == 7

    def test_what_a_stopped_run_had_bought_is_not_called_drawn(
        self, tmp_path: Path, server: OpenAIServer
    ) -> None:
        from nonesuch.generators.backends import open_backend
        from nonesuch.generators.matrix.plan import open_matrix
        from nonesuch.generators.sweepfile.sweep import load_sweep

        path = swept(tmp_path, server.url)
        matrix = open_matrix(load_sweep(path), network=True)
        backend = open_backend(next(iter(matrix.facts.values())), network=True)
        list(backend.draw(list(matrix)[:2]))  # and nobody publishes them
        summary = run(path)
        assert (summary.done, summary.drawn, summary.fetched) == (3, 1, 2)
        assert summary.cost == pytest.approx(0.12)
        assert len(server.drawn()) == 3
        assert rows(tmp_path)["fetched"].fillna(False).sum() == 2

    def test_a_budget_in_money_is_kept_and_the_next_run_goes_on(
        self, tmp_path: Path, server: OpenAIServer
    ) -> None:
        path = swept(tmp_path, server.url, seeds=2, more="budget: {cost: 0.09, total_cost: 0.2}")
        first, second, third = run(path), run(path), run(path)
        assert [one.done for one in (first, second, third)] == [2, 2, 1]
        assert "$0.09 for one run" in first.ended_by
        assert "$0.2 for the sweep" in third.ended_by
        assert rows(tmp_path)["cost"].sum() == pytest.approx(0.2)

    def test_a_budget_without_a_price_is_refused_before_anything_is_bought(
        self, tmp_path: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = swept(tmp_path, server.url, '"openai:gpt-image-9"', more="budget: {cost: 1}")
        monkeypatch.setattr(server, "answer", lambda request: as_json({"id": "model"}))
        with pytest.raises(InputError, match="no price is known for an image"):
            run(path)
        assert not server.drawn()

    def test_the_services_credential_stays_as_the_parent(self, tmp_path: Path, server: OpenAIServer) -> None:
        from nonesuch.foundation.images import decode_rgb
        from nonesuch.provenance.credentials.reading import read_credentials
        from nonesuch.provenance.credentials.trustlist import load_trust
        from nonesuch.provenance.marking.drawn_image import MarkRequest, mark_image
        from nonesuch.provenance.signing.signer import SignerChoice, open_chosen

        signer = open_chosen(SignerChoice())
        request = MarkRequest(
            watermark_payload=7, recipe={}, title="s.png", generator="service", watermark=None
        )
        server.sign = lambda data: mark_image(decode_rgb(data, where="x"), request, signer).data
        run(swept(tmp_path, server.url))
        row = rows(tmp_path).iloc[0]
        data = (tmp_path / "out" / row["file"]).read_bytes()
        report = read_credentials(data, "image/png", load_trust())
        assert report.integrity == "intact"
        assert len(report.manifests) == 2
        assert row["source_type"] == "trainedAlgorithmicMedia"
        assert row["status"] == "ok"

    def test_a_row_has_the_size_of_its_file_and_the_recipe_the_size_that_was_asked_for(
        self, tmp_path: Path, server: OpenAIServer
    ) -> None:
        from nonesuch.generators.matrix.plan import open_matrix
        from nonesuch.generators.sweepfile.sweep import make_sweep
        from nonesuch.redrawing.refining import sweep_of_image
        from nonesuch.web.gallery.sweepfile import sweep_file

        run(
            swept(
                tmp_path,
                server.url,
                "noise, {name: dalle, settings: {model: 'openai:dall-e-3', size: 1792x1024}}",
            )
        )
        table = rows(tmp_path)
        for _, row in table.iterrows():
            with Image.open(tmp_path / "out" / row["file"]) as image:
                assert image.size == (row["width"], row["height"])
        bought = table[table["backend"] == "openai"].iloc[0]
        assert (bought["width"], bought["height"]) == (112, 64)  # what the server sends
        assert json.loads(bought["options"]) == {"width": 1792, "height": 1024}
        assert json.loads(table[table["backend"] == "noise"].iloc[0]["options"]) == {}
        with Image.open(tmp_path / "out" / bought["file"]) as image:
            image.save(tmp_path / "stripped.png")
        again = sweep_of_image(tmp_path / "stripped.png", catalog=tmp_path / "out")
        assert again.data["settings"]["width"] == 1792
        assert "options" not in again.data["settings"]
        (recipe,) = open_matrix(make_sweep(again.data))
        assert recipe.id == bought["recipe_id"]
        assert sweep_file(json.loads(bought.to_json())).exact
