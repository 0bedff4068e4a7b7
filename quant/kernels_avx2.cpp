#include "quant/lanes_avx2.h"
// The lanes come first: the template is written in their terms.
#include "quant/kernel_template.h"

namespace diffq {

extern const KernelTable kAvx2Kernels;
const KernelTable kAvx2Kernels{extremes, draw, group_scales, add_bits_slopes, add_noise, group_dots};

}  // namespace diffq
