"""The kernel's C on processors that this machine is not, emulated by QEMU.

This takes seconds; benchmarks/other_processors.sh takes minutes and runs the whole growth engine there, from wheels.
"""

import os
import re
import signal
import subprocess
from pathlib import Path
from shutil import which

import pytest

import tumortwin.growth

HERE = Path(__file__).parent
HEADERS = Path(tumortwin.growth.__file__).parent
X86, ARM = "x86_64-linux-gnu-gcc", "aarch64-linux-gnu-gcc"
PACKAGES = "apt install gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

# QEMU emulates no AVX-512: those clones are tested on machines that have it, by the other tests
NEHALEM, HASWELL = ("qemu-x86_64", "-cpu", "Nehalem"), ("qemu-x86_64", "-cpu", "Haswell")
ARM_V8 = ("qemu-aarch64", "-cpu", "cortex-a53")


def build(compiler: str, program: Path, *source: str) -> None:
    need(compiler)
    # static, so that QEMU needs no libraries and knows the names of all functions
    subprocess.run([compiler, "-static", "-std=gnu11", "-O3", "-ffp-contract=off", *source, "-o", str(program), "-lm"],
                   check=True)  # fmt: skip


def emulate(emulator: tuple[str, ...], program: Path, *options: str) -> subprocess.CompletedProcess[str]:
    need(emulator[0])
    return subprocess.run([*emulator, *options, str(program)], cwd=program.parent, capture_output=True, text=True)


def need(tool: str) -> None:
    if which(tool):
        return
    message = f"no {tool} found: {PACKAGES}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.mark.parametrize(("compiler", "emulator", "clones"), [
    pytest.param(X86, NEHALEM, {"default"}, id="x86-64 without AVX"),
    pytest.param(X86, HASWELL, {"avx2"}, id="x86-64 with AVX2"),
    pytest.param(ARM, ARM_V8, set(), id="aarch64"),
])  # fmt: skip
def test_steps_are_the_plain_scheme_s(compiler, emulator, clones, tmp_path) -> None:
    program, log = tmp_path / "driver", tmp_path / "log"
    build(compiler, program, f"-I{HEADERS}", str(HERE / "kernel_driver.c"))
    run = emulate(emulator, program, "-d", "in_asm", "-D", str(log))
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("largest difference") == 6
    # the log has the name of each function that ran: the rows must be those for this processor
    ran = set(re.findall(r"^IN: \w+_(?:float|double)\.(\w+)", log.read_text(), re.M))
    assert ran - {"resolver"} == clones


def test_the_emulated_processor_lacks_avx(tmp_path) -> None:
    """Or else passing there would mean nothing."""
    source, program = tmp_path / "avx.c", tmp_path / "avx"
    source.write_text('int main(void) { __asm__ volatile("vzeroall"); return 0; }')
    build(X86, program, str(source))
    assert emulate(HASWELL, program).returncode == 0
    assert emulate(NEHALEM, program).returncode == -signal.SIGILL
