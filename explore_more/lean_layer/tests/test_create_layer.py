"""The layer builder, tried on packages that are made here."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import create_layer
import pytest
from conftest import FOLDER

SCRIPT = FOLDER / "layer/create_layer.py"
REQUIREMENTS = FOLDER / "layer/requirements"


def run(folder, *arguments):
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def requirements(tmp_path):
    """A lock file with one wheel that is made here and contains tests."""
    wheel = tmp_path / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("small/__init__.py", "from small.part import WORD\n")
        archive.writestr("small/part.py", "WORD = 'PONG'\n")
        archive.writestr("small/tests/test_part.py", "#" * 200_000)
        archive.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        archive.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("small-1.0.dist-info/RECORD", "")
    digest = subprocess.check_output(["sha256sum", wheel], text=True).split()[0]
    path = tmp_path / "requirements.txt"
    path.write_text(f"small @ file://{wheel} --hash=sha256:{digest}\n")
    return path


def test_a_layer_is_pruned_proven_and_the_same_twice(requirements, tmp_path):
    layers = []
    for name in ("first", "second"):
        result = run(tmp_path, requirements, "--output", f"{name}.zip")
        assert result.returncode == 0, result.stderr
        layers.append((tmp_path / f"{name}.zip").read_bytes())
    assert layers[0] == layers[1]
    names = zipfile.ZipFile(tmp_path / "first.zip").namelist()
    assert "python/small/part.py" in names
    assert not [name for name in names if "tests" in name or "RECORD" in name]
    assert "**/tests: tests of a package" in result.stdout
    assert "proof: imported small" in result.stdout or "proof: not run" in result.stdout


def test_a_layer_that_does_not_answer_is_none(requirements, tmp_path):
    (tmp_path / "prune.txt").write_text("small/part.py not needed, or so one thought\n")
    result = run(tmp_path, requirements, "--prune", "prune.txt")
    assert result.returncode == 1
    assert "the proof fails" in result.stderr
    assert "small.part" in result.stderr
    assert not (tmp_path / "build/requirements.zip").exists()
    assert not (tmp_path / "build/requirements").exists()


def test_a_package_that_changed_is_refused(requirements, tmp_path):
    requirements.write_text(requirements.read_text()[:-3] + "00\n")
    result = run(tmp_path, requirements)
    assert result.returncode == 1
    assert "pip cannot install" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(["--without", "large"], "--without names large"), (["--prune", "no-reason.txt"], "has no reason")],
)
def test_an_argument_that_makes_no_sense_is_named(requirements, tmp_path, arguments, error):
    (tmp_path / "no-reason.txt").write_text("small/tests\n")
    result = run(tmp_path, requirements, *arguments)
    assert result.returncode == 1
    assert error in result.stderr


def test_a_nested_layer_unpacks_itself(requirements, tmp_path):
    result = run(tmp_path, requirements, "--nested")
    assert result.returncode == 0, result.stderr
    layer = tmp_path / "build/requirements/python"
    assert sorted(path.name for path in layer.iterdir()) == ["packages.zip", "unpack.py"]
    program = "import unpack, small; print(small.WORD, small.__file__)"
    for _ in range(2):  # a second start finds the packages there
        environ = {"PYTHONPATH": str(layer), "UNPACK_FOLDER": str(tmp_path / "tmp"), "PATH": os.environ["PATH"]}
        word, path = subprocess.check_output([sys.executable, "-c", program], env=environ, text=True).split()
        assert word == "PONG"
        assert Path(path).is_relative_to(tmp_path / "tmp/packages")


def test_more_than_250_megabytes_are_refused(requirements, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(create_layer, "MAX_UNZIPPED_BYTES", 20)
    monkeypatch.setattr(sys, "argv", ["create_layer.py", str(requirements), "--output", str(tmp_path / "large.zip")])
    with pytest.raises(SystemExit, match="bytes unzipped, but Lambda allows 20"):
        create_layer.main()
    assert not (tmp_path / "large.zip").exists()


def library(folder, symbol, machine=62):
    """Write a file that is ELF as far as the check reads it."""
    folder.mkdir(exist_ok=True)
    path = folder / "part.so"
    path.write_bytes(b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little") + bytes(44) + b"\0" + symbol + b"\0")
    return path


@pytest.mark.parametrize(
    ("symbol", "python", "fits"),
    [
        (b"GLIBC_2.34", "3.13", True),
        (b"GLIBC_2.35", "3.13", False),
        (b"GLIBC_2.27", "3.11", False),
        (b"GLIBC_2.26", "3.11", True),
        (b"GLIBCXX_3.4.30", "3.13", False),
        (b"CXXABI_1.3.13", "3.13", True),
    ],
)
def test_a_library_that_wants_a_newer_system_is_refused(tmp_path, symbol, python, fits):
    library(tmp_path / "packages", symbol)
    if fits:
        assert create_layer.check_libraries(tmp_path / "packages", python, "x86_64")
    else:
        with pytest.raises(create_layer.LayerError, match=r"part\.so needs"):
            create_layer.check_libraries(tmp_path / "packages", python, "x86_64")


def test_a_library_for_another_processor_is_refused(tmp_path):
    library(tmp_path / "packages", b"GLIBC_2.17", machine=183)
    with pytest.raises(create_layer.LayerError, match="not for x86_64"):
        create_layer.check_libraries(tmp_path / "packages", "3.13", "x86_64")


def test_a_library_that_stripping_breaks_stays_as_it_was(tmp_path, monkeypatch):
    path = Path(shutil.copy(find_spec("_ctypes").origin, tmp_path))
    before = path.read_bytes()
    tool = tmp_path / "bin/strip"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nprintf broken | dd of="$2" bs=1 seek=64 conv=notrunc 2>/dev/null\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setattr(create_layer.shutil, "which", lambda name: str(tool) if name == "strip" else None)
    monkeypatch.setattr(create_layer, "is_loadable", lambda data: b"broken" not in data)
    assert create_layer.strip(tmp_path, "x86_64") == 0
    assert path.read_bytes() == before


def test_this_machines_own_libraries_are_loadable():
    assert create_layer.is_loadable(Path(find_spec("_ctypes").origin).read_bytes())
