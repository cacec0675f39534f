#!/bin/sh
# The growth engine on processors other than this one, emulated by QEMU: wheels are built, searched for AVX, installed
# with all that they depend on, and tested on
#
#   x86-64 without AVX (Nehalem, the least that numpy's wheels run on),
#   x86-64 with AVX2 (Haswell), whose clones of the kernel a machine with AVX-512 never takes,
#   aarch64 (ARMv8.0), cross-built.
#
#     sh benchmarks/other_processors.sh [TEST...]     (tests/growth and tests/physics if none is named)
#
# On Debian for x86-64, as any user. Debian's arm64 Python and the wheels' dependencies are downloaded into a temporary
# folder (2 GB, see TMPDIR), which is removed at the end; nothing is installed. QEMU emulates no AVX-512.
set -eu
cd "$(dirname "$0")/.."
tests=${*:-tests/growth tests/physics}
needed_by_tests="pytest pytest-timeout hypothesis"
python=/usr/bin/python3 # Debian's, as the arm64 one must be of the same version

missing=
need() { package=$1; shift; "$@" > /dev/null 2>&1 || missing="$missing $package"; }
need gcc which gcc
need binutils which objdump
need git which git
need qemu-user which qemu-x86_64 qemu-aarch64
need gcc-aarch64-linux-gnu which aarch64-linux-gnu-gcc
need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
need python3-dev sh -c 'test -e /usr/include/$(readlink /usr/bin/python3)/Python.h'
need python3-venv $python -c "import ensurepip"
if [ "$(dpkg --print-architecture)" != amd64 ]; then echo "not Debian for x86-64" >&2; exit 1; fi
if [ -n "$missing" ]; then echo "missing; get it by: apt install$missing" >&2; exit 1; fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
trap 'exit 1' INT TERM
export TMPDIR="$out" PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
ulimit -c 0
say() { printf '\n== %s\n' "$*"; }

say "x86-64: wheel"
mkdir "$out/source"
git ls-files -z -- pyproject.toml setup.py README.md LICENSE tumortwin tests | xargs -0 cp --parents -t "$out/source"
cd "$out/source"
$python -m venv "$out/build"
$python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" \
    > "$out/requires"
pip=$out/build/bin/pip
$pip install -q -r "$out/requires"
$pip wheel . -q --no-deps --no-build-isolation -w "$out/wheels"
$python -m venv "$out/x86"
"$out/x86/bin/pip" install -q "$out"/wheels/*x86_64.whl $needed_by_tests
for library in "$out"/x86/lib/*/site-packages/tumortwin/growth/*.so; do
    # a processor without AVX may run all but the clones
    objdump -d --no-show-raw-insn "$library" | awk -F'\t' -v library="${library##*/}" '
        /^[0-9a-f]+ <.*>:$/ { split($1, part, "[<>]"); function_ = part[2] }
        $2 ~ /^v/ { avx[function_] }
        END {
            for (f in avx) if (f ~ /\.avx/) clones++; else { print library ": AVX in " f; bad = 1 }
            print library ": AVX in " clones + 0 " functions named for it"
            exit bad || !clones
        }'
done

say "aarch64: Debian's Python"
mkdir -p "$out/apt/lists/partial" "$out/apt/archives/partial" "$out/arm" "$out/cross"
: > "$out/apt/status"
cat > "$out/apt/conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Dir::State "$out/apt";
Dir::State::status "$out/apt/status";
Dir::Cache "$out/apt";
END
export APT_CONFIG="$out/apt/conf"
apt-get update -qq
apt-get install -qq --download-only --no-install-recommends python3 libpython3-dev libstdc++6 > "$out/apt/said"
for package in "$out"/apt/archives/*.deb; do dpkg -x "$package" "$out/arm"; done

say "aarch64: wheel"
# the build's Python is this machine's, told that it builds for the other
headers=$out/arm/usr/include
version=$(readlink "$out/arm/usr/bin/python3")
if [ "$version" != "$(readlink $python)" ]; then echo "$python is not $version, as the arm64 one is" >&2; exit 1; fi
cp "$out/arm/usr/lib/$version/_sysconfigdata__aarch64-linux-gnu.py" "$out/cross"
cross() {
    PYTHONPATH=$out/cross _PYTHON_HOST_PLATFORM=linux-aarch64 \
        _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__aarch64-linux-gnu \
        CC="aarch64-linux-gnu-gcc -I$headers/$version -I$headers" $pip "$@"
}
cross wheel . -q --no-deps --no-build-isolation -w "$out/wheels"
cross install -q --target "$out/arm64" --only-binary=:all: "$out"/wheels/*aarch64.whl $needed_by_tests


say "this machine: the emulator refuses AVX where it should, and the kernel's C alone"
CI=true "$out/x86/bin/python" -P -m pytest -q -p no:cacheprovider tests/growth/test_other_processors.py

tested() {
    say "$1"; shift
    # -P: the package is the installed one, not this folder's
    "$@" -P -c "import os, tumortwin.growth._kernel as k; print(os.uname().machine, os.path.basename(k.__file__))"
    "$@" -P -m pytest -q -p no:cacheprovider --ignore=tests/growth/test_other_processors.py $tests
}
haswell=Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-invpcid,-rtm # less what QEMU would warn about
tested "x86-64 without AVX (Nehalem)" qemu-x86_64 -cpu Nehalem "$out/x86/bin/python"
tested "x86-64 with AVX2 (Haswell)" qemu-x86_64 -cpu $haswell "$out/x86/bin/python"
export PYTHONPATH="$out/arm64"
tested "aarch64 (ARMv8.0, Cortex-A53)" qemu-aarch64 -cpu cortex-a53 -L "$out/arm" "$out/arm/usr/bin/python3"
