#!/usr/bin/env bash
# Installs what diffq needs to be built and run: Debian packages (as root, or through sudo) and Python wheels in .venv.
# Idempotent; prints what it is about to install. Nothing is installed outside .venv where everything is there already.
#
#   scripts/setup.sh          what the program needs
#   scripts/setup.sh --test   also what the tests need
#   scripts/setup.sh --data   also what the demo trains on, into ${DIFFQ_DATA:-data}: MNIST (64 MB), the King James Bible
#                             (3 MB), synthesised stems of OpenMSX (made with fluidsynth, 170 MB)
set -euo pipefail
cd "$(dirname "$0")/.."

with_tests=no with_data=no
for argument in "$@"; do
  case "$argument" in
    --test) with_tests=yes ;;
    --data) with_data=yes ;;
    *) echo "setup.sh: $argument: unknown; use --test, --data" >&2; exit 2 ;;
  esac
done

packages=(build-essential cmake ninja-build ccache pkg-config git ca-certificates python3 python3-venv
          libopenmpi-dev openmpi-bin libhdf5-dev nlohmann-json3-dev libcli11-dev libxxhash-dev libzstd-dev zlib1g-dev libjpeg62-turbo-dev
          libsndfile1-dev libavformat-dev libavcodec-dev libswresample-dev libavutil-dev libarchive-dev libjemalloc-dev libgtest-dev)
if [ "$with_tests" = yes ]; then
  packages+=(clang-format-14 clang-14 libclang-rt-14-dev slurmctld slurmd slurm-client munge iproute2 chromium hdf5-tools ffmpeg)
fi
if [ "$with_data" = yes ]; then packages+=(fluidsynth); fi

missing_packages() {
  for package in "${packages[@]}"; do
    if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed"; then echo "$package"; fi
  done
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then as_root=(sudo -n); fi
  if ! command -v apt-get >/dev/null || { [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; }; then
    echo "setup.sh: please install these Debian packages (or your system's equivalents), then start again:" >&2
    echo "  ${missing[*]}" >&2
    exit 1
  fi
  echo "setup: Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get -q update >/dev/null
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >/dev/null
}

# LibTorch is in the torch wheel. Where a CUDA toolkit is installed, the libraries of the wheel that the toolkit lacks
# are added; where not, the two small ones without which even the CPU part does not load.
wheels() {
  echo torch==2.11.0
  # the charting library of the report: Vega 6.2, Vega-Lite 6.4
  echo vl-convert-python==1.9.0.post1
  if command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then
    echo nvidia-cusparselt-cu13==0.8.0 nvidia-nvshmem-cu13==3.4.5 nvidia-cufile==1.20.0.107
    if ! ldconfig -p | grep -q libcudnn.so.9; then echo nvidia-cudnn-cu13==9.19.0.56; fi
    if ! ldconfig -p | grep -q libnccl.so.2; then echo nvidia-nccl-cu13==2.28.9; fi
  else
    echo nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
  fi
  if [ "$with_tests" = yes ]; then
    echo pillow==13.0.0 numpy==2.4.6 scipy==1.17.1 h5py==3.16.0 pandas==3.1.1 python-dateutil==4.0.0 tzdata==2026.6 safetensors==0.8.0
    # what Python's torch wants besides
    echo typing-extensions==4.16.0 sympy==1.14.0 mpmath==1.3.0 networkx==3.6.1 jinja2==3.1.6 markupsafe==3.0.4 \
      filelock==4.2.12 fsspec==2026.9.0
    # the published definitions of DeiT and EfficientNet
    echo timm==1.0.31 torchvision==0.26.0 pyyaml==6.0.4
  fi
}

install_wheels() {
  local python=/usr/bin/python3
  if [ ! -x "$python" ]; then python=python3; fi
  # A .venv whose interpreter is gone (a moved or half-made one) is made again.
  if ! .venv/bin/python -c "" 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv .venv
  fi
  local wanted installed new=()
  wanted=$(wheels)
  installed=$(.venv/bin/python -m pip list --format=freeze --disable-pip-version-check 2>/dev/null | tr 'A-Z_' 'a-z-')
  for wheel in $wanted; do
    if ! grep -qxF "$wheel" <<<"$installed"; then new+=("$wheel"); fi
  done
  if [ ${#new[@]} -eq 0 ]; then return; fi
  echo "setup: Python wheels in .venv: ${new[*]}"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "${new[@]}"
}

install_packages
install_wheels
if [ "$with_data" = yes ]; then
  scripts/fetch_data.sh mnist
  scripts/fetch_data.sh kjv
  scripts/fetch_data.sh openmsx
fi
