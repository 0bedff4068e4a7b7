#!/usr/bin/env bash
# Every C++ and CUDA file of ours is as .clang-format (version 14) has it.
set -euo pipefail
clang_format=$1
cd "$2"
find launcher trainer quant datasets sweeps results tests \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' \) -print0 |
  xargs -0 "$clang_format" --dry-run -Werror
