"""Build a library that hides every instruction set beyond AVX2 from a process. avx2_only.c explains how.

python -m benchmarks.avx2_only build/avx2_only.so FOLDER…      each FOLDER contains libraries of the process

If this machine cannot build the library, the script says why and writes nothing.
"""

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).with_name("avx2_only.c")
CPUID = b"\x0f\xa2"
DISASSEMBLE = r"""objdump --disassemble --no-show-raw-insn "$1" | grep -P ':\s*cpuid\s*$'; exit "${PIPESTATUS[0]}" """
# numpy chooses its code by CPUID too, and tells what CPUID showed.
SEEN = """
try:
    from numpy._core._multiarray_umath import __cpu_features__ as has
except ImportError:
    from numpy.core._multiarray_umath import __cpu_features__ as has
print(has["AVX2"], has["AVX512F"])
"""


def obstacle():
    """Return why the library cannot be built here, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "only Linux on x86-64 can hide what a processor has beyond AVX2"
    missing = [program for program in ("gcc", "objdump") if not shutil.which(program)]
    return f"missing {' and '.join(missing)}; install gcc and binutils" if missing else None


def cpuid_addresses(library):
    """Return the addresses of the CPUID instructions in a shared library, found by disassembling it."""
    if CPUID not in library.read_bytes():
        return []
    lines = subprocess.check_output(["bash", "-c", DISASSEMBLE, "bash", library], text=True).splitlines()
    return [line.split(":")[0].strip() for line in lines]


def list_cpuid(folders):
    """Return the rows of avx2_only.c: file name, size and address of each CPUID instruction below `folders`.

    If two libraries share a name and one of them has no CPUID instruction, that one gets a row with address 0.
    """
    if "cpuid_fault" in Path("/proc/cpuinfo").read_text():
        return []  # the kernel makes each of them trap
    found = {(path.name, path.stat().st_size): path for folder in folders for path in Path(folder).rglob("*.so*")}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        addresses = dict(zip(found, pool.map(cpuid_addresses, found.values())))
    names = {name for name, size in found if addresses[name, size]}
    libraries = sorted(library for library in found if library[0] in names)
    return [f'{{"{name}", {size}, 0x{at}}},' for name, size in libraries for at in addresses[name, size] or "0"]


def build(target, folders):
    """Write the library `target` for processes that load the libraries below `folders`."""
    table = target.with_suffix(".inc").resolve()
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("\n".join(list_cpuid(folders)) + "\n")
    command = ["gcc", "-O2", "-Wall", "-shared", "-fPIC", f'-DCPUIDS="{table}"', "-o", target, SOURCE]
    subprocess.run(command, check=True)


def check(command, environ=None):
    """Raise RuntimeError unless the Python that `command` starts sees AVX2 and no AVX-512."""
    seen = subprocess.check_output([*command, "-c", SEEN], env=environ, text=True).split()
    if seen != ["True", "False"]:
        raise RuntimeError(f"{command[0]}: with avx2_only.so, AVX2 and AVX-512 are {' and '.join(seen)}")


def main():
    reason = obstacle()
    if reason:
        print(f"avx2_only: {reason}. The benchmark skips its measurements on AVX2 alone.", file=sys.stderr)
    else:
        build(Path(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    main()
