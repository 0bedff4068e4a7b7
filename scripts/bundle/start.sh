#!/usr/bin/env bash
# The program of this name, with the libraries that it needs.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../environment.sh"
case "$(basename "$0")" in
  diffq) exec "$bundle/build/diffq" "$@" ;;
  mpirun) exec "$bundle/openmpi/bin/orterun" "$@" ;;
esac
