#!/usr/bin/env bash
# Makes an archive of what is built, for machines where nothing can be installed but the torch wheel with CUDA is there: the
# program, tests, benches, Open MPI, HDF5 and all other libraries, without torch and CUDA (at most 60 MiB).
#
#   scripts/bundle.sh [--out FILE]     FILE defaults to out/diffq-bundle.tar.xz
#
# There: tar xf diffq-bundle.tar.xz && diffq-bundle/run-gpu-checks.sh, or diffq-bundle/bin/diffq and diffq-bundle/bin/mpirun.
set -euo pipefail
out=out/diffq-bundle.tar.xz
while [ $# -gt 0 ]; do
  case "$1" in
    --out) out=${2:?bundle.sh: --out needs a file}; shift 2 ;;
    *) echo "bundle.sh: $1: unknown; use --out FILE" >&2; exit 2 ;;
  esac
done
case "$out" in /*) ;; *) out="$PWD/$out" ;; esac
cd "$(dirname "$0")/.."
limit=$((60 << 20))

if [ ! -x build/diffq ]; then
  echo "bundle.sh: build/diffq is not there; cmake --preset release && cmake --build build --target diffq tests benches" >&2
  exit 1
fi
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/diffq-bundle
mkdir -p "$root"/{bin,build,lib/fallback,openmpi/{bin,lib,etc}}

is_program() { [ "$(head -c 4 "$1" | tr -d '\0')" = $'\x7fELF' ] && [ -x "$1" ] && [[ $1 != *.so* ]]; }

# What checks GPUs, MPI, kernels and speed; in the folders that it has in the build, for the scripts beside it.
copy_programs() {
  local program
  for program in build/diffq build/tests/{gpu,bench,mpi,quant}/*; do
    if [ ! -f "$program" ] || ! is_program "$program"; then continue; fi
    case "$program" in */faulty_sweep | */sweep_bench | */bss_bench | */loader_bench) continue ;; esac  # nothing of a GPU's
    mkdir -p "$root/$(dirname "$program")"
    cp "$program" "$root/$program"
    strip "$root/$program"
    cmake -DPROGRAM="$root/$program" -P scripts/bundle/remove_rpath.cmake
  done
  cp -r sweeps "$root/sweeps"
  mkdir -p "$root/tests"
  for folder in gpu bench; do
    if [ -d tests/$folder ]; then (cd tests && find $folder -name '*.py' -exec cp --parents {} "$root/tests" \;); fi
  done
}

copy_openmpi() {
  local libdir pkgdatadir
  libdir=$(ompi_info --path libdir --parsable | sed 's/.*://')
  pkgdatadir=$(ompi_info --path pkgdatadir --parsable | sed 's/.*://')
  cp "$(readlink -f "$(command -v mpirun)")" "$root/openmpi/bin/orterun"
  cp "$(readlink -f "$(command -v orted)")" "$root/openmpi/bin/orted"
  mkdir -p "$root/openmpi/lib/openmpi3" "$root/openmpi/share"
  cp "$libdir"/openmpi3/*.so "$root/openmpi/lib/openmpi3"
  rm -f "$root"/openmpi/lib/openmpi3/mca_{atomic,memheap,scoll,spml,sshmem}_*.so  # OpenSHMEM's
  cp -r "$pkgdatadir" "$root/openmpi/share/openmpi"
  cp /etc/openmpi/openmpi-mca-params.conf "$root/openmpi/etc"
  mkdir -p "$root/openmpi/pmix"
  cp "$(dirname "$(readlink -f "$(ldconfig -p | awk '/libpmix\.so\.2/ {print $NF; exit}')")")"/pmix/*.so "$root/openmpi/pmix"
}

# Libraries that the programs and Open MPI's plugins load, but for those of torch, CUDA and the C library. The C++ library is
# only a fallback: that of the machine, if newer, may be what its driver needs.
copy_libraries() {
  local library
  local all
  all=$(find "$root" -type f \( -perm -u+x -o -name '*.so' \) -exec ldd {} + 2>/dev/null || true)  # scripts are no programs
  awk '/=> \// {print $3}' <<<"$all" | sort -u | while read -r library; do
    case "$library" in
      */site-packages/* | /usr/local/*) ;;
      */libc.so.6 | */libm.so.6 | */libpthread.so.0 | */libdl.so.2 | */librt.so.1 | */libresolv.so.2 | */libutil.so.1) ;;
      */libstdc++.so.6 | */libgcc_s.so.1) cp -L "$library" "$root/lib/fallback" ;;
      *) cp -L "$library" "$root/lib" ;;
    esac
  done
  find "$root/lib" "$root/openmpi" -name '*.so*' -exec strip --strip-unneeded {} +
}

# The newest version of the C library that anything here asks for.
c_library() {
  { find "$root" -type f \( -perm -u+x -o -name '*.so*' \) -exec objdump -T {} + 2>/dev/null || true; } |
    grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1 | sed 's/GLIBC_//'
}

copy_programs
copy_openmpi
LD_LIBRARY_PATH=$(dirname "$(find .venv/ -name libtorch_cpu.so)") copy_libraries
cp scripts/bundle/*.sh "$root"
for name in diffq mpirun; do cp scripts/bundle/start.sh "$root/bin/$name"; done
rm "$root/start.sh"
sed -i "s/@C_LIBRARY@/$(c_library)/; s/@TORCH@/$(sed -n "s/^  echo torch==//p" scripts/setup.sh)/" "$root/environment.sh"
mkdir -p "$(dirname "$out")"
XZ_OPT="--x86 --lzma2=preset=9e,dict=128MiB" tar --sort=name -C "$stage" -cJf "$out.part" diffq-bundle
mv "$out.part" "$out"
size=$(stat -c %s "$out")
echo "bundle: $out, $((size >> 20)) MiB"
if [ "$size" -gt "$limit" ]; then echo "bundle.sh: larger than 60 MiB" >&2; exit 1; fi
