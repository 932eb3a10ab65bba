#!/usr/bin/env python3
"""Make a Lambda layer from any locked requirements file: install, prune, check, prove, zip.

layer/create_layer.py layer/requirements/translation.txt --without numpy,pyyaml --prove layer/proofs/translation.py
layer/create_layer.py requirements.txt                        prove it by importing each of its packages
layer/create_layer.py requirements.txt --architecture arm64   for Graviton, from any machine
layer/create_layer.py requirements.txt --nested               for packages that stay too large: the layer has a zip,
                                                              which `import unpack` unpacks into /tmp; import it first

It needs pip, and `strip` or `llvm-strip` to remove debug information. It writes build/<name>.zip, the same files as a
folder build/<name>, and their sizes as build/<name>.json.
"""

import argparse
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from importlib.metadata import distributions
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
MAX_UNZIPPED_BYTES = 262_144_000  # AWS's limit of 250 MB, for a function with all its layers
MAX_UPLOAD_BYTES = 50 * 1024 * 1024  # a larger zip must be uploaded through S3
# ELF's number for each processor, and the newest symbols of Amazon Linux 2 (up to Python 3.11) and 2023.
ELF_MACHINES = {"x86_64": 62, "arm64": 183}
AMAZON_LINUX_2 = {"GLIBC": (2, 26), "GLIBCXX": (3, 4, 24), "CXXABI": (1, 3, 11)}
AMAZON_LINUX_2023 = {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13)}
WHEEL_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class LayerError(Exception):
    """The reason why there is no layer, as a sentence that says what to change."""


def system_symbols(python):
    """Return the newest version of each kind of symbol in Lambda's runtime for a Python version such as 3.13."""
    return AMAZON_LINUX_2 if tuple(map(int, python.split("."))) < (3, 12) else AMAZON_LINUX_2023


def install(requirements, folder, python, architecture):
    """Install the wheels for Lambda, which may differ from this machine; raise LayerError."""
    machine, newest = WHEEL_MACHINES[architecture], system_symbols(python)["GLIBC"][1]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
    tags += [f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    command += ["--target", folder, "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--python-version", python, "--implementation", "cp"]
    command += [word for tag in tags for word in ("--platform", tag)]
    if subprocess.run([*command, "--requirement", requirements], check=False).returncode:
        raise LayerError(f"pip cannot install {requirements} for Python {python} on {architecture}; pip says why above")


def bytes_of(paths):
    return sum(path.lstat().st_size for path in paths)


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def package_of_file(folder):
    """Return {path: package} for every installed file."""
    return {
        (folder / file).resolve(): re.sub("[-_.]+", "-", distribution.metadata["Name"]).lower()
        for distribution in distributions(path=[str(folder)])
        for file in distribution.files or []
    }


def sizes(folder, owners):
    """Return {package: bytes} for the files in a folder."""
    total = Counter()
    for path in files_of(folder):
        total[owners.get(path, path.relative_to(folder).parts[0].lower())] += path.lstat().st_size
    return total


def read_prune_list(path):
    """Return the (pattern, reason) pairs of a file; raise LayerError for a pattern without a reason."""
    lines = [line.split(maxsplit=1) for line in path.read_text().splitlines() if line and not line.startswith("#")]
    for line in lines:
        if len(line) < 2:
            raise LayerError(f"{path.name}: {line[0]} has no reason; write one after it")
    return lines


def prune(folder, rules, packages, owners):
    """Remove whole packages, then the files that the rules name; yield (reason, bytes) for each."""
    unknown = set(packages) - set(owners.values())
    if unknown:
        raise LayerError(f"--without names {', '.join(sorted(unknown))}, which are not in the requirements")
    for package in packages:
        yield f"{package}: not needed", remove(path for path, owner in owners.items() if owner == package)
    for pattern, reason in rules:
        yield f"{pattern}: {reason}", remove(sorted(folder.glob(pattern)))
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def remove(paths):
    """Remove files and folders; return how many bytes they had."""
    removed = 0
    for path in paths:
        if path.is_dir():
            removed += bytes_of(files_of(path))
            shutil.rmtree(path)
        elif path.exists():
            removed += path.lstat().st_size
            path.unlink()
    return removed


def libraries(folder):
    """Return the ELF files of a folder."""
    return [path for path in files_of(folder) if path.open("rb").read(4) == b"\x7fELF"]


def strip(folder, architecture):
    """Remove debug information and the symbols that the loader does not need; return how many bytes that saved."""
    names = ["strip", f"{WHEEL_MACHINES[architecture]}-linux-gnu-strip", "llvm-strip"]
    tools = [name for name in names if shutil.which(name)]
    saved = 0
    for path in libraries(folder):
        original = path.read_bytes()
        for tool in tools:
            # A tool fails if it does not know the processor. Some tools break libraries that were patched to go into
            # a wheel.
            result = subprocess.run([tool, "--strip-unneeded", path], capture_output=True, check=False)
            if result.returncode == 0 and is_loadable(path.read_bytes()):
                break
            path.write_bytes(original)
        else:
            print(f"not stripped: {path.name}; no tool can do it without damage (tried: {', '.join(tools) or 'none'})")
        saved += len(original) - path.stat().st_size
    return saved


def is_loadable(library):
    """Return whether the loader accepts a 64-bit ELF file: each segment must be aligned in the file as in memory."""
    start, size, count = *struct.unpack_from("<Q", library, 32), *struct.unpack_from("<HH", library, 54)
    for header in range(start, start + size * count, size):
        kind, _, offset, address, _, _, _, alignment = struct.unpack_from("<IIQQQQQQ", library, header)
        if kind == 1 and (offset - address) % max(alignment, 1):
            return False
    return True


def check_libraries(folder, python, architecture):
    """Return {kind: newest version} of the symbols that the libraries need; raise LayerError if Lambda lacks one."""
    newest = {}
    limits = system_symbols(python)
    for path in libraries(folder):
        data = path.read_bytes()
        if int.from_bytes(data[18:20], "little") != ELF_MACHINES[architecture]:
            raise LayerError(f"{path.relative_to(folder)} is not for {architecture}")
        for kind, text in re.findall(rb"\0(GLIBC|GLIBCXX|CXXABI)_(\d+(?:\.\d+)+)(?=\0)", data):
            name, version = kind.decode(), tuple(map(int, text.split(b".")))
            newest[name] = max(newest.get(name, (0,)), version)
            if version > limits[name]:
                wanted, has = (".".join(map(str, numbers)) for numbers in (version, limits[name]))
                message = f"{path.relative_to(folder)} needs {name} {wanted}, but Lambda has {has}"
                raise LayerError(f"{message}; lock an older release")
    return newest


def nest(packages, layer):
    """Make a layer of the packages as a zip and the module that unpacks it."""
    layer.mkdir()
    write_zip(packages, layer / "packages.zip")
    shutil.copy(FOLDER / "unpack.py", layer)


def write_zip(folder, path, prefix=""):
    """Write a folder's files to a zip; the same files always give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files_of(folder):
            entry = zipfile.ZipInfo(prefix + file.relative_to(folder).as_posix(), ZIP_TIME)
            entry.create_system = 3
            entry.external_attr = (0o100755 if ".so" in file.suffixes else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())


def prove(layer, script, python, architecture, nested):
    """Run a script with only the standard library and the layer; return what it printed, or why it was not run."""
    machine = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    is_this = python == "{}.{}".format(*sys.version_info[:2])
    interpreter = sys.executable if is_this else shutil.which(f"python{python}")
    works = interpreter and subprocess.run([interpreter, "--version"], capture_output=True, check=False).returncode == 0
    if platform.system() != "Linux" or machine != architecture or not works:
        return f"not run: no Python {python} on Linux {architecture} here; only wheel tags and symbols were checked"
    program = f"import runpy, sys; {'import unpack; ' * nested}runpy.run_path(sys.argv[1], run_name='__main__')"
    with tempfile.TemporaryDirectory() as scratch:
        paths = {"PYTHONPATH": str(layer / "python"), "UNPACK_FOLDER": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [interpreter, "-S", "-s", "-c", program, script]
        result = subprocess.run(command, env={**os.environ, **paths}, capture_output=True, text=True, check=False)
    if result.returncode:
        raise LayerError(f"the proof fails with this layer; change prune.txt or --without:\n{result.stderr.strip()}")
    return result.stdout.strip()


def importing(folder, scratch):
    """Return a script that imports every package of a folder; it is the proof if there is no --prove."""
    names = sorted(path.name for path in folder.iterdir() if (path / "__init__.py").exists())
    script = scratch / "imports.py"
    script.write_text(f"import {', '.join(names)}\nprint('imported {', '.join(names)}')\n")
    return script


def megabytes(number):
    return f"{number / 1e6:.1f}"


def print_table(before, after):
    rows = [(name, before[name], after.get(name, 0)) for name in sorted(before, key=before.get, reverse=True)]
    print(f"{'package':24}{'before, MB':>12}{'after, MB':>12}")
    for name, old, new in [*rows, ("all", before.total(), after.total())]:
        print(f"{name:24}{megabytes(old):>12}{megabytes(new):>12}")


def create(arguments, scratch):
    """Make the layer, and print what was done; raise LayerError."""
    packages = scratch / "packages"
    install(arguments.requirements, packages, arguments.python, arguments.architecture)
    owners = package_of_file(packages)
    before = sizes(packages, owners)
    write_zip(packages, scratch / "before.zip", "python/")
    removed = list(prune(packages, read_prune_list(arguments.prune), arguments.without, owners))
    removed.append(("debug information: not needed in a layer", strip(packages, arguments.architecture)))
    for reason, count in sorted(removed, key=lambda pair: -pair[1]):
        if count >= 100_000:
            print(f"−{megabytes(count):>6} MB  {reason}")
    after = sizes(packages, owners)
    print_table(before, after)
    wanted = check_libraries(packages, arguments.python, arguments.architecture)
    print("newest symbols needed:", ", ".join(f"{kind} {'.'.join(map(str, wanted[kind]))}" for kind in sorted(wanted)))
    layer = packages
    if arguments.nested:
        layer = scratch / "nested"
        nest(packages, layer)
    unzipped = bytes_of(files_of(layer))
    if unzipped > MAX_UNZIPPED_BYTES:
        hint = "" if arguments.nested else ", or try --nested"
        raise LayerError(f"{unzipped:,} bytes unzipped, but Lambda allows {MAX_UNZIPPED_BYTES:,}; prune more{hint}")
    write_zip(layer, scratch / "layer.zip", "python/")
    unpacked, target = scratch / "unpacked", arguments.output.with_suffix("")
    zipfile.ZipFile(scratch / "layer.zip").extractall(unpacked)
    script = arguments.prove or importing(packages, scratch)
    print("proof:", prove(unpacked, script, arguments.python, arguments.architecture, arguments.nested))
    # Written only now: a layer whose proof fails must not replace an older one.
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(unpacked, target)
    shutil.move(scratch / "layer.zip", arguments.output)
    zipped = arguments.output.stat().st_size
    report = {"before": before, "after": after, "unzipped": unzipped, "zipped": zipped}
    report["zipped_before"] = (scratch / "before.zip").stat().st_size
    arguments.output.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    how = "; upload it through S3" if zipped > MAX_UPLOAD_BYTES else ""
    print(f"wrote {arguments.output}: {megabytes(zipped)} MB zipped, {megabytes(unzipped)} MB unzipped{how}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requirements", type=Path, help="a lock file with hashes")
    parser.add_argument("--python", default="3.13", help="Lambda's runtime (default: 3.13)")
    parser.add_argument("--architecture", choices=ELF_MACHINES, default="x86_64")
    parser.add_argument("--without", type=lambda text: text.split(","), default=[], help="packages to leave out: a,b")
    parser.add_argument("--prune", type=Path, default=FOLDER / "prune.txt", help="patterns to leave out, with reasons")
    parser.add_argument("--prove", type=Path, help="a script that uses the packages (default: import each one)")
    parser.add_argument("--nested", action="store_true", help="a zip in the layer; it is unpacked at the start")
    parser.add_argument("--output", type=Path, help="default: build/<name of the requirements>.zip")
    arguments = parser.parse_args()
    arguments.output = arguments.output or Path("build", arguments.requirements.with_suffix(".zip").name)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            create(arguments, Path(scratch).resolve())
    except LayerError as error:
        sys.exit(f"create_layer.py: {error}")


if __name__ == "__main__":
    main()
