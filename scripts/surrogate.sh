#!/usr/bin/env bash
# An environment of its own for a surrogate whose packages exclude those of the others: .venv-mace, .venv-sevennet.
#
# Usage: scripts/surrogate.sh mace|sevennet      1.4 GB and some minutes each; quick when there is nothing left to do.
# The versions are those of the extra of the same name in pyproject.toml. Python: that of .venv, or $PYTHON.
# Exit codes: 0 done, 3 something is missing that only a person can provide (the last line says what).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'surrogate: %s\n' "$*"; }
stop() { printf 'surrogate: error: %s\n' "$*" >&2; exit 3; }

name=${1:-}
[[ $name == mace || $name == sevennet ]] || stop "say which: scripts/surrogate.sh mace or scripts/surrogate.sh sevennet"
venv=.venv-$name
log=$venv/setup.log
python=${PYTHON:-.venv/bin/python}
[[ -x $(command -v -- "$python" || true) ]] || python=python3
"$python" -c 'import sys, tomllib, ensurepip, venv' 2>/dev/null ||
    stop "$python is not Python 3.11 or later with venv; run make setup first, or set PYTHON=/path/to/it"

mapfile -t packages < <("$python" - "$name" <<'PY'
import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"][sys.argv[1]], sep="\n")
PY
)
stamp="$PWD ${packages[*]}"
[[ $(cat "$venv/.setup-stamp" 2>/dev/null || true) == "$stamp" ]] && exit 0

say "installing $name into $venv (1.4 GB, some minutes)"
"$python" -m venv --clear "$venv" || stop "$python could not make $venv; check that $PWD is writable"
# torch comes first in each list: a machine may hold a build for its own processor, which later lines must not replace.
for package in "${packages[@]}"; do
    if ! PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install "$package" >>"$log" 2>&1 </dev/null; then
        grep -E '^ERROR' "$log" | tail -n 5 >&2 || tail -n 5 "$log" >&2
        stop "pip could not install $package (log: $log); check the network and the index of pip, then run this again"
    fi
done
printf '%s\n' "$stamp" >"$venv/.setup-stamp"
say "$venv is ready"
