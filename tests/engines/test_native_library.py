"""The compiled library as a file: how it comes to be, where it is kept, what happens where it cannot be had.

With a library of one small function, for speed, and in processes of their own, which load no engine.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deformconv.engines.native import library

if not shutil.which("g++"):
    pytest.skip("needs g++", allow_module_level=True)

SOURCE = 'extern "C" int answer() { return 42; }\n'
ASKS = f"""
import ctypes, importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("library", {library.__file__!r})
library = importlib.util.module_from_spec(spec)
spec.loader.exec_module(library)
library.FOLDER = pathlib.Path(sys.argv[1])
try:
    print(library.loaded("small.cc", [], [], ctypes.CDLL).answer())
except library.Unavailable as reason:
    print(reason)
"""


@pytest.fixture(autouse=True)
def source(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/small.cc").write_text(SOURCE)
    monkeypatch.setattr(library, "FOLDER", tmp_path / "source")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "source"


@pytest.fixture
def ask(source):
    """`ask(**environment)`: starts a process that prints 42, or why it cannot."""

    def start(**environment):
        command = [sys.executable, "-c", ASKS, str(source)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=os.environ | environment, **pipes)

    return start


@pytest.fixture
def compiler(tmp_path):
    """`compiler(refuses)`: one that knows no option which begins so; `asked` counts what it was asked to compile."""

    def make(refuses="nothing"):
        path = tmp_path / "cxx"
        path.write_text(
            '#!/bin/sh\nfor word in "$@"; do\n'
            f'case $word in {refuses}*) echo "unknown option $word" >&2; exit 1;; esac; done\n'
            f'case $1 in --version) echo this one;; *) echo once >> {tmp_path}/asked; exec g++ "$@";; esac\n'
        )
        path.chmod(0o755)
        return str(path)

    make.asked = lambda: len((tmp_path / "asked").read_text().splitlines()) if (tmp_path / "asked").exists() else 0
    return make


def kept(tmp_path):
    return sorted((tmp_path / "deformconv").glob("*"))


def test_it_is_compiled_once(ask, tmp_path, compiler):
    own = compiler()
    first, second = (ask(CXX=own).communicate() for _ in range(2))
    assert first[0] == second[0] == "42\n" and compiler.asked() == 1
    assert "compiles its CPU kernels" in first[1] and not second[1]
    assert [path.suffix for path in kept(tmp_path)] == [".so"]


def test_another_source_another_version_or_another_processor_is_another_library(tmp_path, source, monkeypatch):
    def make(version="1"):
        return library.loaded("small.cc", [version], [], lambda path: path)

    made = [make(), make("2")]
    monkeypatch.setattr(library, "_processor", lambda: "flags: another")
    made.append(make())
    (source / "core").mkdir()
    (source / "core/part.h").write_text("// another\n")
    made.append(make())
    assert len(set(made)) == 4 and kept(tmp_path) == sorted(made)


def test_without_a_compiler_the_reason_is_told_and_nothing_is_left_behind(ask, tmp_path):
    assert ask(CXX="no-such-compiler").communicate() == ("no C++ compiler was found\n", "")
    assert not kept(tmp_path)


def test_a_compiler_that_fails_is_warned_of_once_and_not_asked_again(ask, tmp_path):
    first, second = (ask(CXX="false").communicate() for _ in range(2))
    assert "false could not compile them" in first[0] and "could not be compiled" in first[1]
    assert "false could not compile them" in second[0] and not second[1]
    (failed,) = kept(tmp_path)
    assert str(failed) in second[0]
    failed.unlink()
    assert "could not be compiled" in ask(CXX="false").communicate()[1]


def test_an_option_that_the_compiler_does_not_know_is_left_out(ask, tmp_path, compiler):
    """As on ARM, which has no vectors of a preferred width."""
    arm = compiler("-mprefer-vector-width")
    said = [ask(CXX=arm).communicate() for _ in range(2)]
    assert [out for out, _ in said] == ["42\n", "42\n"] and compiler.asked() == 1
    assert "could not" not in said[0][1] + said[1][1] and len(kept(tmp_path)) == 1


def test_half_a_library_and_a_foreign_one_are_made_anew(ask, tmp_path, compiler):
    """And are not loaded: half a file would end the process."""
    own = compiler()
    assert ask(CXX=own).communicate()[0] == "42\n"
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(content)
        assert not library._is_whole(path)
    assert ask(CXX=own).communicate()[0] == "42\n" and library._is_whole(path) and compiler.asked() == 2
    path.write_bytes(b"text" + library._digest(b"text"))  # whole, and no library all the same
    assert ask(CXX=own).communicate()[0] == "42\n" and compiler.asked() == 3


def test_two_processes_that_compile_at_once_do_not_disturb_each_other(ask, tmp_path):
    both = [ask() for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["42\n"] * 2
    assert len(kept(tmp_path)) == 1


def test_a_cache_that_cannot_be_written_to_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "deformconv").write_text("a file where the folder should be")
    monkeypatch.setattr(library.tempfile, "tempdir", str(tmp_path))
    folder = library.cache()
    assert folder.is_dir() and folder == library.cache()  # the same again: it is compiled once


def test_a_user_without_a_home_has_a_cache_nobody_else_can_write_to(tmp_path, monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.setattr(library.tempfile, "tempdir", str(tmp_path))
    folder = library.cache()
    assert folder.parent == tmp_path and folder == library.cache() and folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    assert library.cache() != folder
