"""The locked wheels load with the glibc of Lambda's images. Their names do not always tell the truth."""

import re
import subprocess
import sys
import zipfile
from io import BytesIO

import pytest
from conftest import ROOT
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

AMAZON_LINUX_2 = (2, 26)  # Lambda's images for Python 3.8 to 3.11
AMAZON_LINUX_2023 = (2, 34)  # for 3.12 and later


def download(version, machine, glibc, folder):
    """Download the wheels that pip would install on a machine with this Python, processor and glibc."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc[1], 4, -1)] + [f"manylinux2014_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", folder]
    command += ["--only-binary", ":all:", "--python-version", version]
    command += [f"--platform={platform}" for platform in platforms]
    subprocess.run([*command, "--requirement", ROOT / f"requirements/python{version}.txt"], check=True)
    return sorted(folder.iterdir())


def needed_glibc(library):
    """Return the newest glibc version that an ELF file (bytes) needs, for example (2, 17)."""
    sections = ELFFile(BytesIO(library)).iter_sections()
    needs = [need for section in sections if isinstance(section, GNUVerNeedSection) for need in section.iter_versions()]
    names = [symbol.name for _, symbols in needs for symbol in symbols]
    found = [re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", name) for name in names]
    return max((tuple(map(int, match.groups()[:2])) for match in found if match), default=(0, 0))


@pytest.mark.parametrize(
    "version, machine, glibc",
    [
        ("3.8", "x86_64", AMAZON_LINUX_2),
        ("3.13", "x86_64", AMAZON_LINUX_2023),
        ("3.13", "aarch64", AMAZON_LINUX_2023),
    ],
)
def test_no_library_needs_a_newer_glibc_than_the_image_has(version, machine, glibc, tmp_path):
    needs = {}
    for path in download(version, machine, glibc, tmp_path):
        with zipfile.ZipFile(path) as wheel:
            libraries = [name for name in wheel.namelist() if re.search(r"\.so(\.|$)", name)]
            needs.update({f"{path.name}: {name}": needed_glibc(wheel.read(name)) for name in libraries})
    assert len(needs) > 20
    assert max(needs.values()) > (2, 4)
    assert {name: need for name, need in needs.items() if need > glibc} == {}
