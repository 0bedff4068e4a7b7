#!/usr/bin/env bash
# All that can only be shown on a GPU: the tests labelled gpu, groups of ranks on GPUs, and the benches. Writes one text file.
#
#   run-gpu-checks.sh [REPORT]      REPORT defaults to gpu-checks.txt in the current folder; exit code 1: a check failed
set -uo pipefail
report=${1:-$PWD/gpu-checks.txt}
. "$(dirname "$(readlink -f "$0")")/environment.sh"
cd "$bundle"
summary=() failed=0

# check TITLE SECONDS COMMAND…: what it prints goes into the report.
check() {
  local title=$1 limit=$2 began=$SECONDS code=0 output verdict
  shift 2
  output=$(timeout -k 10 "$limit" "$@" 2>&1) || code=$?
  verdict="failed ($code)"
  if [ $code -eq 0 ]; then verdict=passed; fi
  # Tests skip themselves where there is no GPU, or too few.
  if [ $code -eq 77 ] || { [ $code -eq 0 ] && grep -q "no GPU: skipped" <<<"$output"; }; then verdict=skipped; fi
  if [[ $verdict = failed* ]]; then failed=1; fi
  summary+=("$(printf '%-10s %5d s  %s' "$verdict" $((SECONDS - began)) "$title")")
  printf '\n== %s\n$ %s\n%s\n-- %s after %d s\n' "$title" "$*" "$output" "$verdict" $((SECONDS - began))
}

measure() {
  for bench in build/tests/bench/gpu_bench build/tests/gpu/*_bench; do
    if [ -x "$bench" ]; then check "bench $(basename "$bench")" 1800 "$bench"; fi
  done
  for precision in fp32 bf16; do
    for model in "resnet18 --batch 128" "deit_base --batch 64"; do
      # shellcheck disable=SC2086
      check "steps of $model, $precision" 1800 build/tests/bench/step_bench fp32 diffq --device cuda --steps 20 \
        --precision $precision --model $model
    done
  done
  for precision in fp32 bf16; do
    check "recorded steps of resnet20, $precision" 600 build/tests/bench/step_bench fp32 fp32_graph diffq diffq_graph --device cuda \
      --steps 20 --precision $precision --model resnet20 --batch 128
  done
  if [ -e tests/bench/compare_gpu.py ]; then check "beside Python's torch" 3600 python3 tests/bench/compare_gpu.py; fi
}

{
  echo "diffq $(bin/diffq --version) on $(uname -nsr), $(date -u +%FT%TZ), torch $torch_version, $(nproc) cores"
  nvidia-smi 2>&1 || echo "nvidia-smi: not there"
  for test in build/tests/gpu/*_test; do
    if [ -x "$test" ]; then check "test $(basename "$test")" 1800 "$test"; fi
  done
  for ranks in 2 4; do
    check "communicator's logic, $ranks ranks" 300 mpirun -q -n $ranks --oversubscribe --bind-to none build/tests/mpi/nccl_tests
  done
  if [ -x build/tests/gpu/nccl_ranks ]; then
    check "NCCL, 2 ranks" 600 mpirun -q -n 2 --oversubscribe --bind-to none build/tests/gpu/nccl_ranks
  fi
  if nvidia-smi -L >/dev/null 2>&1; then measure; else echo "no GPU: nothing is measured"; fi
  printf '\n== Summary\n'
  printf '%s\n' "${summary[@]}"
} >"$report"
printf '%s\n' "${summary[@]}"
echo "report: $report"
exit $failed
