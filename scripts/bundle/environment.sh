# Sourced by everything in this folder: finds torch's libraries, and points Open MPI to where it lies now.
bundle=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

torch_wanted=@TORCH@
die() { echo "diffq-bundle: $1" >&2; exit 1; }

c_library_wanted=@C_LIBRARY@
has_c_library=$(getconf GNU_LIBC_VERSION | sed 's/.* //')
if [ "$(printf '%s\n' "$c_library_wanted" "$has_c_library" | sort -V | head -1)" != "$c_library_wanted" ]; then
  die "the C library here is $has_c_library; $c_library_wanted or newer is needed"
fi

# Where Python finds the package, without the seconds that importing it takes.
torch=${DIFFQ_TORCH_DIR:-$(python3 -c '
import importlib.util
spec = importlib.util.find_spec("torch")
print(spec.submodule_search_locations[0] if spec else "")')}
[ -e "$torch/lib/libtorch_cpu.so" ] || die "python3 has no torch; install torch $torch_wanted with CUDA 13, or set DIFFQ_TORCH_DIR to the package's folder"
torch_version=$(sed -n "s/^__version__ = '\(.*\)'/\1/p" "$torch/version.py")
case "$torch_version" in "$torch_wanted"*) ;; *) die "torch is $torch_version; built for $torch_wanted" ;; esac

libraries=$bundle/lib:$torch/lib
for folder in "$torch"/../nvidia/*/lib /usr/local/cuda/lib64; do
  if [ -d "$folder" ]; then libraries+=:$folder; fi
done
# g++ 12's, where the machine's is older.
if ! grep -qs GLIBCXX_3.4.30 "$(ldconfig -p 2>/dev/null | awk '/libstdc\+\+\.so\.6 .*x86-64/ {print $NF; exit}')" /dev/null; then
  libraries+=:$bundle/lib/fallback
fi
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PATH=$bundle/bin:$bundle/openmpi/bin:$PATH
export OPAL_PREFIX=$bundle/openmpi OPAL_BINDIR=$bundle/openmpi/bin OPAL_LIBDIR=$bundle/openmpi/lib \
  OPAL_PKGLIBDIR=$bundle/openmpi/lib/openmpi3 OPAL_DATADIR=$bundle/openmpi/share \
  OPAL_PKGDATADIR=$bundle/openmpi/share/openmpi OPAL_SYSCONFDIR=$bundle/openmpi/etc
# Not the plugins of a PMIx of the machine's own, which may be another version.
export PMIX_PKGLIBDIR=$bundle/openmpi/pmix PMIX_DATADIR=$bundle/openmpi/share PMIX_SYSCONFDIR=$bundle/openmpi/etc
# Without a way to other hosts mpirun must not look for one.
if ! command -v ssh >/dev/null && ! command -v rsh >/dev/null; then export OMPI_MCA_plm=isolated; fi
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
