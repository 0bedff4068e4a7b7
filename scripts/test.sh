#!/usr/bin/env bash
# Sets up, builds everything and runs all tests, then those that train nothing once more under the sanitizers for
# addresses and undefined behaviour. Arguments go to ctest, and only the first part is run: scripts/test.sh -R quant
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --test --data
scripts/fetch_data.sh imagenet_tiles
scripts/fetch_data.sh stempeg
cmake --preset release >/dev/null
cmake --build build --target diffq tests benches
ctest --test-dir build --output-on-failure "$@"
if [ $# -gt 0 ]; then exit; fi

cmake --preset asan >/dev/null
cmake --build build-asan --target untrained_tests
ctest --test-dir build-asan --output-on-failure --no-tests=error -L untrained
