#include "quant/kernels.h"

#include <cmath>
#include <stdexcept>

namespace diffq {

extern const KernelTable kPlainKernels;
#ifdef DIFFQ_X86_KERNELS
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;
#endif

GroupMap make_group_map(Parametrisation parametrisation, double min_bits, double max_bits) {
  GroupMap map;
  map.parametrisation = parametrisation;
  map.min_bits = static_cast<float>(min_bits);
  map.max_bits = static_cast<float>(max_bits);
  map.log_scale_at_min = static_cast<float>(-std::log(std::exp2(min_bits) - 1));
  map.log_scale_at_max = static_cast<float>(-std::log(std::exp2(max_bits) - 1));
  return map;
}

bool has_code_path(CodePath path) {
#ifdef DIFFQ_X86_KERNELS
  switch (path) {
    case CodePath::plain:
      return true;
    case CodePath::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case CodePath::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  }
#endif
  return path == CodePath::plain;
}

CodePath best_code_path() {
  if (has_code_path(CodePath::avx512)) return CodePath::avx512;
  return has_code_path(CodePath::avx2) ? CodePath::avx2 : CodePath::plain;
}

const KernelTable& kernels(CodePath path) {
  if (!has_code_path(path))
    throw std::invalid_argument("kernels: this processor has no such vector instructions");
#ifdef DIFFQ_X86_KERNELS
  if (path == CodePath::avx512) return kAvx512Kernels;
  if (path == CodePath::avx2) return kAvx2Kernels;
#endif
  return kPlainKernels;
}

}  // namespace diffq
