#!/bin/sh
# Makes an environment with the simulators that a fleet is timed beside. 200 MB.
#
#     sh benchmarks/fleet/peers_env.sh FOLDER
set -eu

folder=${1:?FOLDER: where to make it}

python3 -m venv "$folder"
"$folder/bin/pip" --disable-pip-version-check install --quiet \
    simpy==4.1.2 vllm-sr-sim==0.1.0.dev20260713123629
"$folder/bin/python" -c 'import simpy; print("simpy", simpy.__version__)'
