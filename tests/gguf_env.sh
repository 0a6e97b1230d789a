#!/bin/sh
# Makes an environment with llama-cpp-python: PyPI has its source alone. A quarter of an hour.
#
#     sh tests/gguf_env.sh PYTHON FOLDER
#
# Everything else is taken from PYTHON's own environment. llama.cpp is compiled for the sets of
# instructions that the processor shows, by name: what the compiler calls native holds AMX on virtual
# machines that show it and forbid it, and then dies.
set -eu

version=0.3.36
python=${1:?PYTHON: of the environment to build on}
folder=${2:?FOLDER: where to make it}

options="-DLLAVA_BUILD=OFF"
if [ "$(uname -m)" = x86_64 ]; then
    options="$options -DGGML_NATIVE=OFF"
    if grep -qw avx512bw /proc/cpuinfo; then options="$options -DGGML_AVX512=ON"; fi
    if grep -qw avx512_vnni /proc/cpuinfo; then options="$options -DGGML_AVX512_VNNI=ON"; fi
    if grep -qw avx512vbmi /proc/cpuinfo; then options="$options -DGGML_AVX512_VBMI=ON"; fi
    if grep -qw avx512_bf16 /proc/cpuinfo; then options="$options -DGGML_AVX512_BF16=ON"; fi
fi

"$python" -m venv "$folder"
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
own=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# As a folder of packages of its own, so that what is installed there in place is found too.
echo "import site; site.addsitedir('$packages')" > "$own/below.pth"
CMAKE_ARGS="$options" "$folder/bin/pip" --disable-pip-version-check install --quiet \
    "llama-cpp-python==$version"
"$folder/bin/python" -c 'import llama_cpp; print("llama-cpp-python", llama_cpp.__version__)'
