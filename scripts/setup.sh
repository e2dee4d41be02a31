#!/usr/bin/env bash
# Everything that `mlip-auto run` needs, in one go; quick when there is nothing left to do.
#
#   Quantum ESPRESSO    Debian's package (as root), or an existing pw.x on PATH or in $MLIP_PW
#   Python packages     into .venv of this checkout, with the index that pip is configured for
#   pseudopotentials    into $MLIP_DATA or ~/.local/share/mlip-autopipec
#   LAMMPS pair style   compiled into the same folder (g++), so that exported input files run as they are
#
# Variables: PYTHON (interpreter, 3.11 or 3.12), MLIP_PW (path of pw.x), MLIP_DATA (data folder).
# Exit codes: 0 done, 3 something is missing that only a person can provide (the last line says what).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
STAMP=$VENV/.setup-stamp
LOG=$VENV/setup.log
APT_PACKAGES=(quantum-espresso libopenblas0-serial g++)

say() { printf 'setup: %s\n' "$*"; }
stop() { printf 'setup: error: %s\n' "$*" >&2; exit 3; }

find_pw() {
    if [[ -n ${MLIP_PW:-} ]]; then
        [[ -x $(command -v -- "$MLIP_PW" || true) ]] || stop "MLIP_PW=$MLIP_PW is not a program; unset it or give the path of pw.x"
        command -v -- "$MLIP_PW"
    else
        command -v pw.x || true
    fi
}

install_pw() {
    local elsewhere="or set MLIP_PW=/path/to/pw.x if you have one"
    command -v apt-get >/dev/null || stop "pw.x was not found; install Quantum ESPRESSO 6.7 or later with your package manager, $elsewhere"
    (( EUID == 0 )) || stop "pw.x was not found; run: sudo apt-get install --no-install-recommends ${APT_PACKAGES[*]}, $elsewhere"
    say "installing ${APT_PACKAGES[*]}"
    local log
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update && apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${APT_PACKAGES[@]}"; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 15 "$log" >&2
        stop "apt-get could not install ${APT_PACKAGES[*]} (log: $log); check the network, $elsewhere"
    fi
    rm -f "$log"
}

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.11 python3.12}; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
            command -v -- "$name"
            return
        fi
    done
}

make_venv() {
    # The programs of an environment hold its path: one that came along with a moved checkout is made anew.
    if grep -qsF "$PWD/$VENV/bin/python" "$VENV/bin/pip" && "$VENV/bin/pip" --version >/dev/null 2>&1; then return; fi
    local python
    python=$(find_python)
    [[ -n $python ]] || stop "${PYTHON:-python3} is not Python 3.11 or 3.12; install one (Debian: apt-get install python3 python3-venv) and set PYTHON=/path/to/it"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || stop "$python cannot make virtual environments; run: sudo apt-get install python3-venv"
    say "making $VENV with $("$python" --version)"
    "$python" -m venv --clear "$VENV" || stop "$python could not make $VENV; check that $PWD is writable"
}

pip_install() {
    say "installing $1"
    shift
    if ! PIP_DISABLE_PIP_VERSION_CHECK=1 "$VENV/bin/python" -m pip install "$@" >>"$LOG" 2>&1 </dev/null; then
        grep -E '^ERROR' "$LOG" | tail -n 5 >&2 || tail -n 5 "$LOG" >&2
        stop "pip could not install $* (log: $LOG); check the network and the index of pip, then run this again"
    fi
}

install_python_packages() {
    : >"$LOG"
    # First: a machine may hold a build of torch for its own processor, which later lines must not replace.
    pip_install "torch" torch==2.13.0
    pip_install "mlip-autopipec and its engines (some minutes the first time)" \
        -e '.[structures,molecules,chgnet,lammps,pacemaker,ace,parsl,xtb,dev]'
    # Both declare the CUDA build of TensorFlow, several GB; tensorflow-cpu (extra "pacemaker") serves.
    pip_install "Pacemaker's TensorFlow backend" --no-deps tf_keras==2.20.1 tensorpotential==0.6.2.1
}

[[ -w . ]] || stop "$PWD is not writable by $(id -un); use a copy of your own"

pw=$(find_pw)
if [[ -z $pw ]]; then
    install_pw
    pw=$(find_pw)
    [[ -n $pw ]] || stop "pw.x is still not on PATH after installing it; set MLIP_PW=/path/to/pw.x"
fi

if command -v flock >/dev/null; then
    exec 9<scripts/setup.sh # two runs at once (make test beside make run) take turns
    flock 9
fi

stamp=$({ pwd && cat pyproject.toml scripts/setup.sh; } | sha256sum | cut -d' ' -f1)
if [[ $(cat "$STAMP" 2>/dev/null || true) != "$stamp" || ! -x $VENV/bin/mlip-auto ]]; then
    make_venv
    rm -f "$STAMP"
    install_python_packages
    printf '%s\n' "$stamp" >"$STAMP"
fi

"$VENV/bin/python" -m mlip_autopipec.engines.dft.quantum_espresso.pseudos install ||
    stop "the pseudopotentials are not installed (see the line above)"

if ! "$VENV/bin/python" -m mlip_autopipec.engines.md.lammps.plugin.build >>"$LOG" 2>&1; then
    # Campaigns do without it; only the exported LAMMPS input needs it.
    say "the LAMMPS pair style could not be compiled (log: $LOG); with g++ installed, run: make plugin"
fi

say "ready (pw.x: $pw); check with: $VENV/bin/mlip-auto doctor"
