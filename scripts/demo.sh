#!/usr/bin/env bash
# From nothing to a comparison: sets up what is missing, builds diffq, trains sweeps/demo.json on two ranks, prints the
# table and where the results are. A second call resumes (and has nothing left to do); --fresh trains again.
#
#   scripts/demo.sh [--out DIR] [--fresh]
set -euo pipefail
out=out/demo fresh=no
while [ $# -gt 0 ]; do
  case "$1" in
    --out) out=${2:?demo.sh: --out needs a folder}; shift 2 ;;
    --fresh) fresh=yes; shift ;;
    *) echo "demo.sh: $1: unknown; use --out DIR, --fresh" >&2; exit 2 ;;
  esac
done
case "$out" in /*) ;; *) out="$PWD/$out" ;; esac
cd "$(dirname "$0")/.."

scripts/setup.sh --data
cmake --preset release >/dev/null
cmake --build build --target diffq

if [ "$fresh" = yes ] && [ -e "$out" ]; then
  # Only ever what a sweep wrote.
  if [ ! -f "$out/sweep.json" ]; then echo "demo.sh: $out is not the output folder of a sweep; not removed" >&2; exit 2; fi
  rm -rf "$out"
fi

launch=(mpirun -q -n 2 --oversubscribe --bind-to none)
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
exec "${launch[@]}" build/diffq run sweeps/demo.json --out "$out" --set "benchmarks.0.data.root=${DIFFQ_DATA:-data}/mnist" \
  --set "benchmarks.1.data.root=${DIFFQ_DATA:-data}/kjv" --set "benchmarks.2.data.root=${DIFFQ_DATA:-data}/openmsx"
