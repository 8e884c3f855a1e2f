#!/bin/sh
# An environment for benchmarks/curvature.py --full and benchmarks/slices.py: the project at its tested versions, and the peer libraries.
# Usage: benchmarks/peers.sh DIR; then LANDSCAPE_DATA=... DIR/bin/python benchmarks/curvature.py --full
# The peers are installed with --no-deps: through their dependencies pip would bring another torch.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
env=$1
pip() { "$env/bin/python" -m pip install --quiet "$@"; }
"${PYTHON:-python3}" -m venv "$env"
pip --upgrade -c "$root/constraints.txt" pip setuptools
pip -c "$root/constraints.txt" -e "$root[data]"
pip --no-deps curvlinops-for-pytorch==3.0.1 hessian-eigenthings==1.0.0a5 PyHessian==0.1 loss-landscapes==3.0.6
# What the first three import besides torch, numpy, scipy and tqdm.
pip --no-deps backpack-for-pytorch==1.7.1 einops==0.8.2 einconv==0.1.0 unfoldNd==0.2.3 \
    linear_operator==0.6.1 jaxtyping==0.3.11 wadler_lindig==0.1.8
"$env/bin/python" -W ignore -c "
import curvlinops, hessian_eigenthings, loss_landscapes, pyhessian, torch
assert torch.__version__.startswith('2.13.0'), torch.__version__
print('torch', torch.__version__, 'with the peers')"
