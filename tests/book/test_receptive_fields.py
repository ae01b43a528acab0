"""The script that measures how far the networks of a study see."""

import json
import runpy
import shutil
import sys
from pathlib import Path

SCRIPT = str(Path(__file__).parents[2] / "tools/receptive_fields.py")
LOOKED_AT = ("regular", "deformable")


def test_every_network_of_a_whole_seed_is_measured_in_the_settings_of_its_study(study, tmp_path, monkeypatch):
    own = [run for run in study.results.runs if run["variant"] in LOOKED_AT]
    assert own[0]["budget"] == "tiny"  # no budget of this name is known: the settings must be those of the runs
    gone = [{**run, "seed": 1} for run in own]
    (tmp_path / "results.json").write_text(json.dumps({"format": 1, "runs": own + gone}))
    (tmp_path / "weights").mkdir()
    for variant in LOOKED_AT:
        shutil.copy(study.weights_path(variant, 0), tmp_path / "weights")
    shutil.copy(study.weights_path("regular", 0), tmp_path / "weights" / "regular-1.weights.h5")

    out = tmp_path / "reach.json"
    monkeypatch.setattr(sys, "argv", [SCRIPT, str(tmp_path), "--digits", "1", "--out", str(out)])
    runpy.run_path(SCRIPT, run_name="__main__")

    measured = json.loads(out.read_text())
    assert measured["digits"] == 1 and measured["command"].startswith("python tools/receptive_fields.py")
    # Of seed 1 one network is gone, so a mean over seeds would compare different ones.
    assert [(one["variant"], one["seed"]) for one in measured["networks"]] == [(name, 0) for name in LOOKED_AT]
    for one in measured["networks"]:
        assert one["reach"].keys() == {"1.0", "2.0"}
        assert all(0 < reach < 14 * 2**0.5 for reach in one["reach"].values())
