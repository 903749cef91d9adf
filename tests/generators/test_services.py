"""OpenAI, Stability and Google through the real client, against servers on loopback that speak their protocols."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from remote_servers import (
    KEY,
    GoogleServer,
    OpenAIServer,
    Reply,
    ServiceServer,
    StabilityServer,
    as_json,
    running,
)

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends import Backend, BackendStopped, Drawing, Spooling, draw_anew, open_backend
from nonesuch.generators.backends.remote.pace import Pace, backoff, retry_after
from nonesuch.generators.backends.remote.spool import Spool
from nonesuch.generators.matrix.expansion import Matrix
from nonesuch.generators.matrix.plan import open_matrix, plan
from nonesuch.generators.prices import price_of
from nonesuch.generators.sweepfile.sweep import make_sweep

pytestmark = pytest.mark.slow
MODELS = {
    "openai": "openai:dall-e-3",
    "stability": "stability:core",
    "google": "google:imagen-4.0-generate-001",
}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "STABILITY_API_KEY", "GEMINI_API_KEY", "GOOGLE_ACCESS_TOKEN"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("NONESUCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def servers() -> Iterator[dict[str, ServiceServer]]:
    with (
        running(OpenAIServer()) as openai,
        running(StabilityServer()) as stability,
        running(GoogleServer()) as google,
    ):
        yield {"openai": openai, "stability": stability, "google": google}


def matrix_of(
    model: str, server: ServiceServer, *, network: bool = True, folder: Path = Path(), **keys: Any
) -> Matrix:
    kind = model.split(":")[0]
    engine = {"url": server.url, "concurrency": 1, **keys.pop("engine", {})}
    data = {"name": "services", "model": model, "prompt": "a {subject}", "connections": {kind: engine}}
    facets = keys.pop("facets", {"subject": ["panda", "fox"]})
    return open_matrix(make_sweep({**data, "facets": facets, **keys}, folder), network=network)


def opened(matrix: Matrix) -> Backend:
    return open_backend(next(iter(matrix.facts.values())), network=True)


def drawn(matrix: Matrix) -> list[Drawing]:
    return list(opened(matrix).draw(list(matrix)))


@pytest.mark.parametrize("kind", MODELS)
class TestEveryService:
    def test_buys_an_image_for_each_recipe(self, servers: dict[str, ServiceServer], kind: str) -> None:
        server, matrix = servers[kind], matrix_of(MODELS[kind], servers[kind])
        done = drawn(matrix)
        assert [one.status for one in done] == ["ok", "ok"]
        assert [one.recipe for one in done] == list(matrix)
        assert all(one.original for one in done)
        facts = next(iter(matrix.facts.values()))
        assert [one.facts["cost"] for one in done] == [price_of(recipe, facts) for recipe in matrix]
        assert len(server.drawn()) == 2

    def test_what_was_paid_for_is_not_bought_again_until_it_is_published(
        self, servers: dict[str, ServiceServer], kind: str
    ) -> None:
        matrix = matrix_of(MODELS[kind], servers[kind])
        first = drawn(matrix)
        assert [one.original for one in drawn(matrix)] == [one.original for one in first]
        assert len(servers[kind].drawn()) == 2
        backend = opened(matrix)
        assert isinstance(backend, Spooling)
        backend.published(list(matrix))
        drawn(matrix)
        assert len(servers[kind].drawn()) == 4

    def test_a_kept_picture_is_not_called_drawn_and_another_one_is_bought_anew(
        self, servers: dict[str, ServiceServer], kind: str
    ) -> None:
        server, matrix = servers[kind], matrix_of(MODELS[kind], servers[kind])
        drawn(matrix)
        assert {one.origin.drawn for one in drawn(matrix)} == {False}
        anew = list(draw_anew(opened(matrix), list(matrix)))
        assert {(one.status, one.origin.drawn) for one in anew} == {("ok", None)}
        assert {one.origin.evidence for one in anew} == {"the service does not say whether it drew"}
        assert len(server.drawn()) == 4
        keys = {one.headers.get("idempotency-key", str(place)) for place, one in enumerate(server.drawn())}
        assert len(keys) == 4
        assert {one.origin.drawn for one in drawn(matrix)} == {False}  # what was kept for the run still is

    def test_a_refused_prompt_is_its_recipes_row(self, servers: dict[str, ServiceServer], kind: str) -> None:
        matrix = matrix_of(MODELS[kind], servers[kind], facets={"subject": ["forbidden thing", "fox"]})
        done = drawn(matrix)
        assert [one.status for one in done] == ["failed", "ok"]
        assert "content policy" in done[0].reason
        assert "cost" not in done[0].facts

    def test_a_missing_and_a_refused_key_are_found_while_planning_and_never_shown(
        self, servers: dict[str, ServiceServer], kind: str, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        caplog.set_level(logging.DEBUG)
        monkeypatch.setenv("ANOTHER", "sk-wrong-9876543210")
        with pytest.raises(InputError, match="refuses the key") as caught:
            matrix_of(MODELS[kind], servers[kind], engine={"key": "env:ANOTHER"})
        assert "9876543210" not in f"{caught.value!r} {caught.value}" + caplog.text
        with pytest.raises(InputError, match="environment variable NOWHERE holds no key"):
            matrix_of(MODELS[kind], servers[kind], engine={"key": "env:NOWHERE"})
        assert (
            matrix_of(MODELS[kind], servers[kind], network=False, engine={"key": "env:NOWHERE"}).count() == 2
        )

    def test_a_key_that_is_refused_on_the_way_ends_the_run_after_what_was_drawn(
        self, servers: dict[str, ServiceServer], kind: str
    ) -> None:
        matrix = matrix_of(MODELS[kind], servers[kind], seeds=[1, 2])
        drawings = opened(matrix).draw(list(matrix))
        assert next(drawings).status == "ok"
        servers[kind].faults.append(as_json({"error": {"message": f"bad key {KEY}"}}, 401))
        with pytest.raises(BackendStopped, match="refuses the key") as caught:
            list(drawings)
        assert KEY not in str(caught.value)

    def test_rate_limits_are_waited_for(self, servers: dict[str, ServiceServer], kind: str) -> None:
        servers[kind].faults.extend(
            [
                as_json({}, 429, **{"Retry-After": "0"}),
                Reply(500),
                as_json({}, 429, **{"Retry-After": "0.01"}),
            ]
        )
        assert [one.status for one in drawn(matrix_of(MODELS[kind], servers[kind]))] == ["ok", "ok"]
        assert len(servers[kind].drawn()) == 5

    def test_rate_limits_without_end_stop_the_run(self, servers: dict[str, ServiceServer], kind: str) -> None:
        matrix = matrix_of(MODELS[kind], servers[kind], engine={"retries": 1})
        servers[kind].faults.extend(as_json({}, 429, **{"Retry-After": "0"}) for _ in range(9))
        with pytest.raises(BackendStopped, match="429"):
            drawn(matrix)
        servers[kind].faults.clear()
        servers[kind].faults.append(as_json({}, 429, **{"Retry-After": "9999"}))
        with pytest.raises(BackendStopped, match="429"):
            drawn(matrix)

    @pytest.mark.parametrize(
        "fault",
        [
            Reply(200, b"<html>", {"Content-Type": "text/html"}),
            as_json([]),
            as_json({"data": [{}], "predictions": [{}], "image": None}),
            Reply(200, b'{"data": [', {"Content-Type": "application/json"}),
        ],
    )
    def test_a_broken_answer_is_its_recipes_row(
        self, servers: dict[str, ServiceServer], kind: str, fault: Reply
    ) -> None:
        servers[kind].faults.append(fault)
        assert [one.status for one in drawn(matrix_of(MODELS[kind], servers[kind]))] == ["failed", "ok"]

    def test_settings_without_effect_make_no_further_images(
        self, servers: dict[str, ServiceServer], kind: str
    ) -> None:
        matrix = matrix_of(MODELS[kind], servers[kind], facets={"subject": ["fox"], "steps": [10, 20, 30]})
        assert len({recipe.id for recipe in matrix}) == 1

    def test_plan_says_what_it_costs_without_a_request(
        self, servers: dict[str, ServiceServer], kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OPENAI_API_KEY")
        sweep = matrix_of(MODELS[kind], servers[kind], network=False, seeds={"count": 50}).sweep
        told = plan(sweep)
        assert told.cost == pytest.approx(100 * {"openai": 0.04, "stability": 0.03, "google": 0.04}[kind])
        assert "steps" in told.ignored[0]
        assert not servers[kind].requests

    def test_a_service_without_a_way_to_the_network_says_so(
        self, servers: dict[str, ServiceServer], kind: str
    ) -> None:
        sweep = make_sweep({"name": "x", "prompt": "p", "model": MODELS[kind]})
        facts = next(iter(open_matrix(sweep).facts.values()))
        with pytest.raises(BackendStopped, match="which this run may not use"):
            open_backend(facts, network=False).load()


class TestOpenAI:
    def test_tokens_are_priced_as_the_service_counts_them(self, servers: dict[str, ServiceServer]) -> None:
        matrix = matrix_of("openai:gpt-image-1", servers["openai"], settings={"options": {"quality": "low"}})
        first = drawn(matrix)[0]
        assert first.facts["cost"] == pytest.approx(10 * 5e-6 + 272 * 40e-6)
        assert servers["openai"].drawn()[0].json["output_format"] == "png"
        assert "response_format" not in servers["openai"].drawn()[0].json

    def test_a_price_in_the_sweep_overrules(self, servers: dict[str, ServiceServer]) -> None:
        assert (
            drawn(matrix_of("openai:gpt-image-1", servers["openai"], engine={"price": 0.5}))[0].facts["cost"]
            == 0.5
        )

    def test_what_the_service_says_is_kept_and_that_it_can_not_be_repeated(
        self, servers: dict[str, ServiceServer]
    ) -> None:
        facts = drawn(matrix_of("openai:dall-e-3", servers["openai"]))[0].facts
        assert json.loads(facts["told"]) == {"revised_prompt": "a panda, revised", "request_id": "req_1"}
        assert facts["reproducible"] is False

    def test_a_request_carries_the_recipes_id(self, servers: dict[str, ServiceServer]) -> None:
        matrix = matrix_of("openai:dall-e-3", servers["openai"])
        drawn(matrix)
        sent = [request.headers["idempotency-key"] for request in servers["openai"].drawn()]
        assert sent == [f"nonesuch-{recipe.id}" for recipe in matrix]

    def test_facets_may_be_bound_to_options(self, servers: dict[str, ServiceServer]) -> None:
        facets = {"subject": ["fox"], "quality": ["standard", "hd"]}
        matrix = matrix_of(
            "openai:dall-e-3", servers["openai"], facets=facets, engine={"bind": {"quality": "quality"}}
        )
        assert [one.facts["cost"] for one in drawn(matrix)] == [0.04, 0.08]

    def test_edits_send_the_picture_and_a_transparent_mask(
        self, servers: dict[str, ServiceServer], tmp_path: Path
    ) -> None:
        Image.new("RGB", (64, 64), "red").save(tmp_path / "start.png")
        Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
        settings = {"init_image": "start.png", "mask": "mask.png"}
        matrix = matrix_of("openai:gpt-image-1", servers["openai"], folder=tmp_path, settings=settings)
        assert drawn(matrix)[0].status == "ok"
        request = servers["openai"].drawn()[0]
        assert request.path == "/images/edits"
        assert request.form["mask"][1].startswith(b"\x89PNG")
        with pytest.raises(InputError, match="does not take init_image"):
            matrix_of("openai:dall-e-3", servers["openai"], folder=tmp_path, settings=settings)

    @pytest.mark.parametrize(
        ("status", "code"),
        [(429, "insufficient_quota"), (400, "billing_hard_limit_reached"), (403, "unverified")],
    )
    def test_a_quota_that_is_used_up_ends_the_run(
        self, servers: dict[str, ServiceServer], status: int, code: str
    ) -> None:
        matrix = matrix_of("openai:dall-e-3", servers["openai"])
        servers["openai"].faults.append(as_json({"error": {"code": code}}, status))
        with pytest.raises(BackendStopped, match=r"no quota|does not let"):
            drawn(matrix)
        assert len(servers["openai"].drawn()) == 1

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"model": "openai:gpt-4"}, "no image model"),
            ({"settings": {"size": "512x512"}}, "512x512 is not a size"),
            ({"model": "openai:dall-e-9"}, "no image model"),
        ],
    )
    def test_bad_models_and_sizes_are_found_while_planning(
        self, servers: dict[str, ServiceServer], keys: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            matrix_of(server=servers["openai"], **{"model": "openai:dall-e-3", **keys})

    def test_unknown_options_are_refused(self, servers: dict[str, ServiceServer]) -> None:
        for options in ({"qualtiy": "hd"}, {"quality": "ultra"}):
            matrix = matrix_of("openai:dall-e-3", servers["openai"], settings={"options": options})
            with pytest.raises(InputError, match="quality"):
                opened(matrix).check(next(iter(matrix)))


class TestStability:
    def test_seeds_are_sent_and_never_0(self, servers: dict[str, ServiceServer]) -> None:
        matrix = matrix_of("stability:core", servers["stability"], seeds=[0, 2**62], negative="blurry")
        done = drawn(matrix)
        forms = [request.form for request in servers["stability"].drawn()]
        assert all(1 <= int(form["seed"]) <= 4_294_967_294 for form in forms)
        assert forms[0]["negative_prompt"] == "blurry"
        assert "reproducible" not in done[0].facts

    def test_a_filtered_image_is_a_failed_row(self, servers: dict[str, ServiceServer]) -> None:
        done = drawn(matrix_of("stability:core", servers["stability"], facets={"subject": ["nude"]}))
        assert done[0].reason == "Stability filtered the image (content policy)"

    def test_sd35_starts_from_a_picture_and_core_does_not(
        self, servers: dict[str, ServiceServer], tmp_path: Path
    ) -> None:
        Image.new("RGB", (64, 64), "red").save(tmp_path / "start.png")
        settings = {"init_image": "start.png", "strength": 0.3}
        drawn(matrix_of("stability:sd3.5-large", servers["stability"], folder=tmp_path, settings=settings))
        form = servers["stability"].drawn()[0].form
        assert (form["mode"], form["strength"], form["model"]) == ("image-to-image", "0.3", "sd3.5-large")
        with pytest.raises(InputError, match="does not take init_image"):
            matrix_of("stability:core", servers["stability"], folder=tmp_path, settings=settings)

    def test_engines_of_v1_take_steps_and_schedulers(self, servers: dict[str, ServiceServer]) -> None:
        settings = {"steps": 15, "scheduler": "euler", "guidance": 6}
        matrix = matrix_of(
            "stability:stable-diffusion-xl-1024-v1-0",
            servers["stability"],
            settings=settings,
            engine={"price": 0.01},
        )
        assert drawn(matrix)[0].status == "ok"
        sent = servers["stability"].drawn()[0].json
        assert (sent["steps"], sent["sampler"], sent["cfg_scale"]) == (15, "K_EULER", 6.0)

    def test_an_empty_account_is_found_while_planning(self, servers: dict[str, ServiceServer]) -> None:
        servers["stability"].credits = 0  # type: ignore[attr-defined]
        with pytest.raises(InputError, match="no credits left"):
            matrix_of("stability:core", servers["stability"])

    def test_a_shape_that_it_does_not_draw_is_refused(self, servers: dict[str, ServiceServer]) -> None:
        matrix = matrix_of("stability:core", servers["stability"], settings={"size": "1024x256"})
        with pytest.raises(InputError, match="is not a shape"):
            opened(matrix).check(next(iter(matrix)))


class TestGoogle:
    def test_vertex_ai_gets_a_bearer_token(self, servers: dict[str, ServiceServer]) -> None:
        url = servers["google"].url + "/v1/projects/p/locations/europe-west4/publishers/google/models"
        matrix = matrix_of(
            MODELS["google"], servers["google"], engine={"url": url}, settings={"size": "1408x768"}
        )
        assert drawn(matrix)[0].status == "ok"
        request = servers["google"].drawn()[0]
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.json["parameters"]["aspectRatio"] == "16:9"

    def test_a_daily_quota_ends_the_run_and_a_minutes_limit_is_waited_for(
        self, servers: dict[str, ServiceServer]
    ) -> None:
        def limited(**detail: Any) -> Reply:
            return as_json(
                {"error": {"status": "RESOURCE_EXHAUSTED", "message": "", "details": [detail]}}, 429
            )

        matrix = matrix_of(MODELS["google"], servers["google"])
        servers["google"].faults.append(limited(retryDelay="0.01s"))
        assert [one.status for one in drawn(matrix)] == ["ok", "ok"]
        other = matrix_of(MODELS["google"], servers["google"], seeds=[5])
        servers["google"].faults.append(limited(violations=[{"quotaId": "RequestsPerDayPerProject"}]))
        with pytest.raises(BackendStopped, match="quota is used up"):
            drawn(other)


def test_a_key_never_goes_over_plain_http() -> None:
    with pytest.raises(InputError, match="https only"):
        open_matrix(
            make_sweep(
                {
                    "name": "x",
                    "prompt": "p",
                    "model": "openai:dall-e-3",
                    "connections": {"openai": {"url": "http://a.invalid"}},
                }
            )
        )


def test_a_key_comes_from_a_secret_block(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.blocks.system import Secret
    from pydantic import SecretStr

    from nonesuch.generators.backends.remote.api_keys import read_key

    def load(name: str) -> Secret[SecretStr]:
        if name != "openai":
            raise ValueError(f"Unable to find block document named {name}")
        return Secret[SecretStr](value=SecretStr(KEY))

    monkeypatch.setattr(Secret, "load", staticmethod(load))
    assert read_key("prefect:openai", where="here") == KEY
    with pytest.raises(InputError, match="no Secret block 'other'"):
        read_key("prefect:other", where="here")


def test_waits_grow_and_are_jittered() -> None:
    assert all(0.25 <= backoff(0) <= 0.5 for _ in range(50))
    assert all(30 <= backoff(30) <= 60 for _ in range(50))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("3", 3.0), ("0.5", 0.5), ("-4", 0.0), ("soon", None),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("1e9", 86_400.0)],
)  # fmt: skip
def test_retry_after_is_read_as_rfc_9110_has_it(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_a_token_bucket_lets_bursts_through_and_then_a_request_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("nonesuch.generators.backends.remote.pace.time.monotonic", lambda: now[0])
    pace = Pace(120)  # two in a second at once, then one each half second
    waits: list[float] = []

    def waited(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(
        pace, "_stopped", type("Event", (), {"is_set": lambda _: False, "wait": lambda _, s: waited(s)})()
    )
    for _ in range(5):
        pace.take()
    assert waits == pytest.approx([0.5, 0.5, 0.5])
    pace.pause(10)
    pace.take()
    assert waits[3] == pytest.approx(10)


def test_a_broken_file_in_the_spool_counts_as_none(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put("ab" * 32, b"bytes", {"cost": 1})
    assert spool.take("ab" * 32) == (b"bytes", {"cost": 1})
    (tmp_path / "ab" / ("ab" * 32)).write_bytes(b"{broken")
    assert spool.take("ab" * 32) is None
    spool.drop(["ab" * 32, "cd" * 32])
    assert not (tmp_path / "ab" / ("ab" * 32)).exists()
