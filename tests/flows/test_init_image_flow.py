"""A sweep that starts from the images of another: prompt, parent, catalog row and the credential's chain."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

FIRST = """\
name: first
model: noise
prompt: "a {subject}"
facets: {subject: [panda, fox, owl]}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [technical]}
"""
SECOND = """\
name: second
model: noise
prompt: "{chosen}, larger"
facets:
  chosen: {catalog: one, where: "subject <> 'owl'", order: subject}
settings: {width: 128, height: 128, steps: 1, strength: 0.4}
scoring: {scorers: [technical]}
"""


@pytest.mark.usefixtures("prefect_server")
def test_images_that_an_earlier_sweep_drew_become_parents(tmp_path: Path) -> None:
    from nonesuch.flows.sweep import sweep
    from nonesuch.provenance.verifying.verify import verify_file

    for name, text in (("one", FIRST), ("two", SECOND)):
        (tmp_path / f"{name}.yaml").write_text(text)
        assert sweep(tmp_path / f"{name}.yaml", tmp_path / name).failed == 0
    first = pd.read_parquet(tmp_path / "one" / "catalog").set_index("recipe_id")
    second = pd.read_parquet(tmp_path / "two" / "catalog")
    assert sorted(second["prompt"]) == ["a fox, larger", "a panda, larger"]
    for _, row in second.iterrows():
        parent = first.loc[row["parent"]]
        assert row["prompt"] == f"{parent['prompt']}, larger"
        assert row["init_digest"] == parent["sha256"]
        assert row["strength"] == 0.4
        path = tmp_path / "two" / row["file"]
        said = verify_file(path).to_json()
        assert said["integrity"] == "intact"
        assert said["verdict"] == "ai-generated"  # the parent in its chain was drawn from text alone
        assert any("compositeWithTrainedAlgorithmicMedia" in uri for uri in said["digital_source_type"])
        assert any(uri.endswith("/trainedAlgorithmicMedia") for uri in said["digital_source_type"])
        assert b"one/images" not in path.read_bytes()  # where the parent lies stays out of the credential
