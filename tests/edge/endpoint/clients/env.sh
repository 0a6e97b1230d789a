#!/bin/sh
# Makes an environment with clients of OpenAI's API as users have them: Python's and Node's own, llm,
# LangChain. They are no dependency of ours; slow tests ask the endpoint with them. 150 MB.
#
#     sh tests/edge/endpoint/clients/env.sh FOLDER
set -eu

folder=${1:?FOLDER: where to make it}

python3 -m venv "$folder"
"$folder/bin/pip" --disable-pip-version-check install --quiet \
    openai==3.57.0 llm==0.36 langchain-openai==1.7.4
if command -v npm > /dev/null; then
    mkdir -p "$folder/node"
    npm install --silent --no-audit --no-fund --prefix "$folder/node" openai@7.57.0
fi
touch "$folder/made"
