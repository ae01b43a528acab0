"""The bench on the CPU: every contender that is installed here runs and agrees; its files, tables and other kinds."""

import importlib.util
import json

import numpy as np
import pytest

from deformconv import cli
from deformconv.bench import cases, contenders, files, growth, projection, report


def test_every_installed_contender_runs_and_agrees(tmp_path, capsys):
    """The smoke version of the benchmark: one round of tiny cases; times are measured and never judged."""
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "--cases", "smoke", "--rounds", "1", "--threads", "1", "--out", str(path)]) == 0
    written = json.loads(path.read_text())
    assert not [result for result in written["results"] if "failed" in result]
    installed = set(contenders.installed())
    assert {"conv2d", "tensorflow", "tensorflow, stock", "tensorflow, XLA", "onnxruntime"} <= installed
    for case in cases.SMOKE:
        own = [result for result in written["results"] if result["case"] == case.name]
        assert {result["contender"] for result in own if result["direction"] == "forward"} == installed
        both_ways = {result["contender"] for result in own if result["direction"] == "backward"}
        assert both_ways == installed - {"onnxruntime", "openvino", "ncnn"}
        assert all(0 < result["low"] <= result["median"] <= result["high"] for result in own)
    assert written["threads"] == 1 and written["command"].startswith("deformconv bench")
    assert {"tensorflow", "onnxruntime", "python"} <= written["versions"].keys()
    for own in written["results"]:
        family = contenders.CONTENDERS[own["contender"]].family
        assert own["reference"] == {"convolution": "conv2d", "deformable": "tensorflow"}.get(family, own["reference"])
        assert own["relative_error"] < 1e-5
    assert "| tensorflow |" in capsys.readouterr().out


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs PyTorch")
def test_the_other_engines_and_their_convolutions_are_contenders_too():
    assert {"jax", "torch", "conv2d, jax", "conv2d, torch"} <= set(contenders.installed())


def test_the_table_gives_times_and_ratios_and_names_what_was_not_timed():
    def result(contender, median, direction="forward"):
        return {"case": "a", "contender": contender, "direction": direction, "median": median}

    text = report.table(
        [result("conv2d", 2.0), result("torch", 5.0), {"case": "a", "contender": "ncnn", "failed": "it died"}]
    )
    assert "| conv2d | 2.0 (1.00) |" in text and "| torch | 5.0 (2.50) |" in text
    assert "- ncnn, a: it died" in text and "backward" not in text


def test_the_tables_yardstick_is_the_engines_own_convolution_where_it_was_measured():
    medians = {"conv2d": 2.0, "conv2d, torch": 4.0, "torch": 6.0, "torchvision": 8.0, "jax": 0.01234, "openvino": 3.0}
    common = {"case": "a", "direction": "forward", "precision": "float32"}
    rows = [{**common, "contender": name, "median": median} for name, median in medians.items()]
    rows[-1]["dispatch"] = 2.9
    text = report.table(rows)
    for line in ("| torch | 6.0 (1.50) |", "| torchvision | 8.0 (2.00) |", "| jax | 0.0123 (0.01) |"):
        assert line in text
    assert "| openvino | 3.0* (1.50) |" in text and "* the host takes as long" in text


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "bench.json"
    files.write(path, {"a": 1})
    with pytest.raises(TypeError):
        files.write(path, {"a": {1, 2}})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_second_command_adds_its_rows_if_it_measures_the_same(tmp_path, capsys):
    path = tmp_path / "bench.json"
    about = {"command": "a", "device": "cpu", "hardware": "h", "threads": 1, "seed": 0, "tolerances": {}}
    about |= {"versions": {"python": "3", "jax": "1"}, "source": {"sha256": "s"}}
    row = {"case": "c", "contender": "jax", "precision": "float32", "direction": "forward", "median": 1}
    files.Results(path, about).add([row, {**row, "case": "d"}])
    second = {**about, "command": "b", "versions": {"python": "3", "torch": "2"}}
    files.Results(path, second).add([{**row, "median": 2}])
    files.Results(path, second).add([])
    held = json.loads(path.read_text())
    assert {(one["case"], one["median"]) for one in held["results"]} == {("c", 2), ("d", 1)}
    assert held["command"] == "a; b" and held["versions"].keys() == {"python", "jax", "torch"}
    assert "rows are added" in capsys.readouterr().out
    committed = projection.FOLDER / "results" / "cpu-2-cores.json"
    assert files.Results(committed, about).content["results"] == []
    for content in ("{", "[]", "3", '{"results": []}', '{"format": 1, "runs": []}'):
        path.write_text(content)
        with pytest.raises(ValueError, match="bench.json is not a results file .*Choose another --out"):
            files.Results(path, about)
        assert path.read_text() == content


@pytest.mark.parametrize(
    "change, words",
    [
        ({"threads": 2}, "threads=1, and this is 2"),
        ({"rounds": 1}, "rounds=9, and this is 1"),
        ({"source": {"sha256": "t"}}, "another source"),
        ({"versions": {"python": "4"}}, "python 3, and this is 4"),
    ],
)
def test_results_that_are_no_longer_these_keep_their_numbers_under_another_name(tmp_path, capsys, change, words):
    path = tmp_path / "bench.json"
    about = {"command": "a", "device": "cpu", "threads": 1, "rounds": 9, "versions": {"python": "3"}}
    about |= {"source": {"sha256": "s"}}
    row = {"case": "c", "contender": "jax", "precision": "float32", "direction": "forward", "median": 1}
    files.Results(path, about).add([row])
    first = path.read_bytes()
    second = files.Results(path, {**about, **change})
    assert f"bench.json: of {words}; it is kept under another name" in capsys.readouterr().out
    assert second.content["results"] == [] and path.read_bytes() == first  # until there are new ones
    for median in (2, 3):
        second.add([{**row, "median": median}])
    assert (tmp_path / "bench.json.1").read_bytes() == first and len(list(tmp_path.iterdir())) == 2
    assert [one["median"] for one in json.loads(path.read_text())["results"]] == [3]
    assert "bench.json.1 now" in capsys.readouterr().out


def test_a_new_report_leaves_the_one_before(tmp_path, capsys):
    path = tmp_path / "bench-training.json"
    for number in range(3):
        files.write_new(path, {"number": number})
    names = {"bench-training.json.1": 0, "bench-training.json.2": 1, "bench-training.json": 2}
    found = {path.name: json.loads(path.read_text())["number"] for path in tmp_path.iterdir()}
    assert found == names
    assert "bench-training.json.2 now" in capsys.readouterr().out


def test_the_committed_results_can_still_be_told():
    for name in ("cpu-2-cores", "cpu-2-cores-sizes"):
        held = json.loads((projection.FOLDER / "results" / f"{name}.json").read_text())
        text = report.tables(held)
        assert "| tensorflow |" in text and "forward and backward, ms" in text


def test_each_case_has_its_own_name():
    names = [case.name for each in cases.SETS.values() for case in each]
    assert len(set(names)) == len(names)


def test_a_gather_reads_the_four_corners_of_each_point_within_its_image():
    case = cases.Case("one", 2, 3, 2, 1, 1, kernel=1)
    offsets = np.zeros((2, 3, 2, 2), "float32")
    offsets[1, 0, 1] = (0.5, -0.5)  # between rows 0 and 1, columns 0 and 1 of the second image
    offsets[1, 2, 1] = (9, 9)
    rows = cases.corner_rows(case, offsets).reshape(2, 2, 2, 3, 2)
    assert rows[:, :, 1, 0, 1].tolist() == [[6, 7], [8, 9]]
    assert rows[:, :, 1, 2, 1].tolist() == [[11, 11], [11, 11]]
    assert rows[0, 0, 0].tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            ["--cases", "huge"],
            "--cases must be one of main, digits, large, batches, growth, smoke, all; received 'huge'",
        ),
        (["--contenders", "mxnet"], "--contenders must be one of conv2d, tensorflow,"),
        (["--threads", "0"], "--threads must be between 1 and"),
        (["--rounds", "0"], "--rounds must be at least 1; received 0"),
        (["--memory", "0"], "--memory must be > 0; received 0.0"),
        (["--seconds", "0"], "--seconds must be > 0; received 0.0"),
        (["--round-seconds", "-1"], "--round-seconds must be > 0; received -1.0"),
        (["--device", "tpu"], "--device must be one of cpu, gpu; received 'tpu'"),
        (["--precision", "bfloat16"], "--precision must be one of float32; received 'bfloat16'"),
        (["--contenders", "torch, compiled"], "--contenders must be one of conv2d, tensorflow,"),
        (
            ["--growth", "--training"],
            "--training, --variants, --forms, --growth are one each; received training and growth",
        ),
    ],
)
def test_a_wrong_option_is_refused_with_the_choices(capsys, arguments, words):
    assert cli.main(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_training_steps_are_timed_for_both_networks(monkeypatch):
    from deformconv.bench import training

    monkeypatch.setattr(training, "BATCH", 4)
    monkeypatch.setattr(training, "STEPS", 2)
    plain, deformable = training.run(rounds=1)
    assert plain["network"].startswith("plain") and deformable["network"].startswith("deformable")
    for result in (plain, deformable):
        assert 0 < result["low"] <= result["median"] <= result["high"]
        assert result["images_per_second"] > 0 and result["cores_busy"] > 0
    assert "times plain" in report.training_table([plain, deformable])


def test_each_variants_cost_is_measured_in_a_process_of_its_own(monkeypatch):
    from deformconv.bench import costs

    adapted, deformable = costs.run(["equal-parameters", "deformable"], threads=1)
    assert (adapted["trained_parameters"], deformable["trained_parameters"]) == (37_184, 36_342)
    assert adapted["parameters"] == 242_954 + 37_184
    for result in (adapted, deformable):
        assert result["forward"] > 0 and result["step"] > 0 and result["memory"] > 0
    assert "| deformable | 279,296 | 36,342 |" in costs.table([adapted, deformable])
    with pytest.raises(OSError, match="nothing could not be measured: .*KeyError"):
        costs.run(["nothing"], threads=1)


SMALL = cases.Case("small", 2, 6, 6, 4, 4)


def test_growth_doubles_each_measure_until_memory_or_time_ends(monkeypatch):
    """With a contender whose calls take as long as its tensors are large, and one that has no memory for the fourth."""

    def measure(name, case, *, memory, **_):
        size = case.batch * case.height * case.width * case.channels
        if size * (100 if name == "wasteful" else 1) > memory:
            return {"ended": "memory"}
        return {"median": 1e3 * size, "per_image": 1e3 * size / case.batch, "peak": size}

    monkeypatch.setattr(growth, "measure", measure)
    first = {"batch": 1, "size": 3, "channels": 2}
    results = growth.run(["thrifty", "wasteful"], threads=1, memory=60_000, seconds=2500, base=SMALL, first=first)
    found = {(r["grows"], r["contender"]): [] for r in results}
    for r in results:
        found[r["grows"], r["contender"]].append((r["value"], r.get("ended", r.get("per_image"))))
    batch = [(1, 144e3), (2, 144e3), (4, 144e3), (8, 144e3)]
    assert found["batch", "thrifty"] == [*batch, (16, 144e3), (32, "time")]  # 16 take 2304 seconds
    assert found["batch", "wasteful"] == [*batch[:3], (8, "memory")]
    assert found["channels", "thrifty"][-3:] == [(8, 288e3), (16, 576e3), (32, "time")]  # four times 1152 seconds
    table = growth.table(results)
    assert "| batch | thrifty, ms an image | MB | wasteful, ms an image | MB |" in table
    assert "| 8 | 1.44e+05 | 1,152 | memory |  |" in table and "| 32 | time |  |  |  |" in table


def test_a_process_that_takes_too_much_is_ended():
    """TensorFlow alone takes more than 50 megabytes."""
    options = {"threads": 1, "seconds": 10}
    assert growth.measure("conv2d", SMALL, memory=50, **options) == {"ended": "memory"}
    told = growth.measure("conv2d", SMALL, memory=growth.available(), **options)
    assert 0 < told["low"] <= told["median"] <= told["high"]
    assert told["per_image"] == pytest.approx(told["median"] / 2, abs=1e-4) and told["peak"] > 50
    assert growth.measure("onnxruntime", SMALL, memory=1e6, **options) == {"ended": "it has no gradients"}
