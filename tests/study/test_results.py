"""The results file that keeps finished runs, and the tables made of it."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from deformconv.study import provenance, results
from deformconv.study.digits import experiment

SETTINGS = experiment.Settings("digits", "tiny", 6, 3, test_images=40, zoom_images=10)
DESCRIPTIONS = experiment.Study.descriptions
MEASURES = ("regular", "scaled")


@pytest.fixture
def kept(tmp_path):
    return results.Results(tmp_path / "results.json", SETTINGS, DESCRIPTIONS)


@pytest.fixture
def make_run(make_run):
    """Runs of these settings."""
    return lambda *arguments, **more: make_run(*arguments, **{**dataclasses.asdict(SETTINGS), **more})


# The results file


def test_runs_are_added_in_order_and_read_back(kept, make_run):
    added = [make_run("deformable", 1), make_run("regular", 1), make_run("deformable", 0), make_run("regular", 0)]
    for run in added:
        kept.add(run)
    again = results.Results(kept.path, SETTINGS, DESCRIPTIONS)
    assert again.runs == added[::-1][:1] + [added[1], added[2], added[0]]
    assert again.find("deformable", 0) == added[2]
    assert again.find("batchnorm-only", 0) is None


def test_a_run_of_the_same_variant_and_seed_is_replaced(kept, make_run):
    for run in (make_run("regular", 0, 0.1), make_run("regular", 1, 0.2), make_run("regular", 0, 0.3)):
        kept.add(run)
    assert [run["regular"] for run in results.read(kept.path)] == [0.3, 0.2]


@pytest.mark.parametrize(
    "key, value", [("dataset", "mnist"), ("finetune_steps", 4), ("unscaled_share", 0.0), ("interpolation", "nearest")]
)
def test_runs_of_other_settings_are_not_mixed_in(kept, make_run, key, value):
    kept.add(make_run("regular"))
    before = kept.path.read_bytes()
    with pytest.raises(ValueError, match=f"results.json holds runs with {key}=.*{value!r}.* Choose another --out"):
        results.Results(kept.path, dataclasses.replace(SETTINGS, **{key: value}), DESCRIPTIONS)
    assert kept.path.read_bytes() == before


@pytest.mark.parametrize(
    "change, words",
    [
        ({"data": "b" * 64}, "data=bbbbbbbbbbbb..., and this one has data=aaaaaaaaaaaa..."),
        ({"versions": {"keras": "3.0"}}, "keras 3.0, and this is keras"),
    ],
)
def test_runs_of_other_data_or_versions_are_not_mixed_in(kept, make_run, change, words, monkeypatch):
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3.13", "keras": "3.15"})
    same = {"data": "a" * 64, "versions": {"python": "3.11", "keras": "3.15"}}
    kept.add(make_run("regular", **same))
    assert len(results.Results(kept.path, SETTINGS, DESCRIPTIONS, "a" * 64).runs) == 1
    kept.add(make_run("deformable", **{**same, **change}))
    before = kept.path.read_bytes()
    with pytest.raises(ValueError, match=f"results.json holds runs with {words}.* Choose another --out"):
        results.Results(kept.path, SETTINGS, DESCRIPTIONS, "a" * 64)
    assert kept.path.read_bytes() == before


def test_the_books_results_are_taken_by_the_name_of_their_data_with_a_warning(monkeypatch):
    """They were made before runs told a digest."""
    book = Path(__file__).parents[2] / "book" / "results" / "scaled_digits.json"
    runs = results.read(book)
    monkeypatch.setattr(provenance, "versions", lambda: runs[0]["versions"])
    with pytest.warns(UserWarning, match=f"{len(runs)} of {len(runs)} runs do not tell a digest of their data"):
        kept = results.Results(book, experiment.Settings.of("digits", "quick"), DESCRIPTIONS, "a" * 64)
    assert kept.find("deformable", 0) == next(run for run in runs if run["variant"] == "deformable")


def test_a_run_of_a_variant_that_has_changed_since_is_refused(kept, make_run):
    kept.add(make_run("deformable-groups", description=DESCRIPTIONS["deformable-groups"]))
    assert len(results.Results(kept.path, SETTINGS, DESCRIPTIONS).runs) == 1
    before = kept.path.read_text()
    kept.path.write_text(before.replace("sixteen offset groups", "eight offset groups"))
    with pytest.raises(ValueError, match="a run of 'deformable-groups' from when it was another .*eight offset groups"):
        results.Results(kept.path, SETTINGS, DESCRIPTIONS)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"format": 1, "runs": [{"variant": "regu',
        b"[]",
        b'{"runs": []}',
        b'{"format": 2, "runs": []}',
        b'{"format": 1}',
        b'{"format": 1, "runs": null}',
        b'{"format": 1, "runs": [3]}',
        b'{"format": 1, "runs": [{"seed": 0}]}',
        b"\x89HDF\r\n",
    ],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(kept, content):
    kept.path.write_bytes(content)
    with pytest.raises(ValueError, match="results.json is not a results file that this version reads"):
        results.Results(kept.path, SETTINGS, DESCRIPTIONS)
    assert kept.path.read_bytes() == content


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(kept, make_run):
    """A full disk, as the system tells of it: no file may grow beyond a limit."""
    resource = pytest.importorskip("resource")
    kept.add(make_run("regular"))
    before = kept.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            kept.add(make_run("deformable", command="x" * 100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert kept.path.read_bytes() == before
    assert sorted(os.listdir(kept.path.parent)) == ["results.json", "results.lock"]


def test_the_file_is_whole_on_disk_before_it_takes_the_place_of_the_old_one(kept, make_run, monkeypatch):
    """What a crash between two of these steps would leave: always a whole file."""
    kept.add(make_run("regular"))
    seen, synced, sync = [], [], os.fsync

    def look(descriptor):
        seen.append(len(results.read(kept.path)))
        synced.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    kept.add(make_run("deformable"))
    assert seen == [1]
    assert synced == [kept.path.stat().st_size]
    assert len(results.read(kept.path)) == 2


def test_the_command_of_runs_made_in_pieces_is_the_one_that_makes_them_all(make_run):
    runs = [
        make_run("regular", 0, command="reproduce --seeds 1"),
        make_run("regular", 1, command="reproduce --seeds 2"),
        make_run("deformable", 0, command="reproduce --seeds 2 --variant deformable"),
        make_run("deformable", 1, command="reproduce --seeds 2 --variant deformable"),
    ]
    assert results.command(runs) == "reproduce --seeds 2"


# Tables


def test_a_summary_has_means_and_sample_deviations_in_per_cent(make_run):
    runs = [
        make_run("regular", 0, 0.75, 0.125, trained_parameters=242_250),
        make_run("batchnorm-only", 0, 0.98, 0.5),
        make_run("batchnorm-only", 1, 0.96, 0.6),
        make_run("batchnorm-only", 2, 0.97, 0.4),
    ]
    summary = results.summarise(runs, MEASURES)
    assert list(summary) == ["regular", "batchnorm-only"]
    assert summary["batchnorm-only"]["seeds"] == 3
    assert summary["batchnorm-only"]["regular"] == pytest.approx((97, 1))
    assert summary["batchnorm-only"]["scaled"] == pytest.approx((50, 10))
    assert summary["regular"]["trained_parameters"] == 242_250
    assert summary["regular"]["scaled"] == (12.5, pytest.approx(np.nan, nan_ok=True))
    assert results.table(runs, MEASURES).splitlines() == [
        "| variant        | trained weights |    regular % |      scaled % | seeds |",
        "|----------------|----------------:|-------------:|--------------:|------:|",
        "| regular        |         242,250 |        75.00 |         12.50 |     1 |",
        "| batchnorm-only |             704 | 97.00 ± 1.00 | 50.00 ± 10.00 |     3 |",
    ]


def test_the_table_of_nothing_is_a_head():
    assert results.summarise([], MEASURES) == {}
    assert len(results.table([], MEASURES).splitlines()) == 2


@pytest.mark.parametrize("read", [results.read, results.kept])
def test_a_chapter_that_was_started_elsewhere_is_told_where_to_start(monkeypatch, tmp_path, read):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        read("results/scaled_mnist.json")
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"results/scaled_mnist.json is not there, seen from {tmp_path}.")
    assert "start the notebook there" in line and "book/" in line
