#!/usr/bin/env bash
# Sets up, builds everything and runs all tests. Arguments go to ctest: scripts/test.sh -R quant
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --test --data
scripts/fetch_data.sh imagenet_tiles
scripts/fetch_data.sh stempeg
cmake --preset release >/dev/null
cmake --build build --target diffq tests benches
exec ctest --test-dir build --output-on-failure "$@"
