// The convolution in bfloat16, on processors that multiply pairs of them.

#ifndef DEFORMCONV_CONVOLVE_PAIRS_H_
#define DEFORMCONV_CONVOLVE_PAIRS_H_

#include "convolution.h"
#include "multiply_pairs.h"

#if defined(__AVX512BF16__)

namespace deformconv {

// The convolution in bfloat16 throughout: what the taps read is rounded, as a column buffer of that type would hold it.
inline void ConvolvePairs(const Parallel& parallel, const Convolution<BFloat16>& conv, BFloat16* outputs) {
  const Sizes& s = conv.s;
  const Grid<float> grid(s, conv.geometry, conv.offsets);
  const Buffer<BFloat16> zeros(s.share(), BFloat16{});
  const Blocks blocks = conv.blocks(conv.all_rows(), s.channels);
  const Planes planes(s, blocks.size, 0, s.channels, conv.groups);
  const int64_t filters = conv.filters, made = conv.made();
  std::vector<Buffer<uint32_t>> kernels;
  for (int64_t group = 0; group < conv.groups; ++group) {
    kernels.push_back(Pairs(conv.kernel + group * made, filters, planes.depth(), made));
  }
  parallel.run(blocks.count(), [&](int64_t block) {
    static thread_local Buffer<BFloat16> values;
    static thread_local Buffer<float> sums;
    const int64_t start = blocks.start(block), rows = blocks.end(block) - start;
    values.resize(planes.size());
    sums.resize(rows * filters);
    Cells<float> cells(s.points());
    ReadRows(s, grid, planes, conv.images, conv.weights, zeros.data(), start, start + rows, &cells, values.data());
    for (int64_t group = 0; group < conv.groups; ++group) {
      MultiplyPairs(values.data() + planes.plane(group), planes.depth(), kernels[group].data(),
                    sums.data() + group * made, filters, rows, planes.depth(), made);
    }
    for (int64_t i = 0; i < rows * filters; i += kPairColumns) {
      StoreVector(LoadVector(sums.data() + i), outputs + start * filters + i);
    }
  });
}

}  // namespace deformconv

#endif

#endif  // DEFORMCONV_CONVOLVE_PAIRS_H_
