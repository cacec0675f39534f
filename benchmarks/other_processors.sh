#!/bin/sh
# Does the kernel run, and agree, on processors other than this one? Needs qemu-user, and for aarch64 a cross compiler
# (Debian: qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross). What is missing is skipped, and said.
#
#     sh benchmarks/other_processors.sh [PYTHON]
#
# 1. x86-64 without AVX: the built extension and its tests, in Python under qemu (about ten minutes of emulation).
# 2. aarch64: the kernel's C without Python, cross-compiled, against the same scheme in plain loops.
set -e
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
flags="-std=gnu11 -O3 -ffp-contract=off -Itumortwin/growth benchmarks/kernel_driver.c"

cc $flags -o "$out/here" -lm
echo "this processor:"; "$out/here"
if command -v qemu-x86_64 > /dev/null; then
    for cpu in Nehalem Haswell; do echo "x86-64, $cpu:"; qemu-x86_64 -cpu $cpu "$out/here" 2> "$out/said"; done
else echo "x86-64 baseline: skipped, no qemu-x86_64"; fi
if command -v qemu-aarch64 > /dev/null && command -v aarch64-linux-gnu-gcc > /dev/null; then
    aarch64-linux-gnu-gcc -static $flags -o "$out/arm" -lm
    echo "aarch64:"; qemu-aarch64 "$out/arm"
else echo "aarch64: skipped, no qemu-aarch64 or aarch64-linux-gnu-gcc"; fi
if command -v qemu-x86_64 > /dev/null && [ -n "$1" ]; then
    # numpy 2.x wheels ask for x86-64-v2, which Nehalem is
    qemu-x86_64 -cpu Nehalem "$1" -m pytest tests/growth/test_kernel.py -q -p no:cacheprovider \
        -k "whole_solve or active_box or flushed or another_grid"
fi
