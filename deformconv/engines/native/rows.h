// Work on rows of points, shared out among TensorFlow's threads.

#ifndef DEFORMCONV_ROWS_H_
#define DEFORMCONV_ROWS_H_

#include <vector>

#include "multiply.h"
#include "points.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace deformconv {
namespace {

using namespace tensorflow;  // as operators are written there

using shape_inference::InferenceContext;

constexpr int64_t kBlockBytes = 256 << 10;  // of what the taps read for a few output pixels: half of a small L2 cache

template <typename T>
const T* Data(const Tensor& tensor) {
  return tensor.NumElements() ? static_cast<const T*>(tensor.data()) : nullptr;
}
template <typename T>
T* Data(Tensor* tensor) {
  return tensor->NumElements() ? static_cast<T*>(tensor->data()) : nullptr;
}

int Threads(OpKernelContext* context) { return context->device()->tensorflow_cpu_worker_threads()->num_threads; }

// Calls work(i) for every i below `total`, on all of TensorFlow's threads.
template <typename Work>
void ForEach(OpKernelContext* context, int64_t total, const Work& work) {
  if (total == 0) return;
  const auto one_by_one = thread::ThreadPool::SchedulingParams::Fixed(1);
  context->device()->tensorflow_cpu_worker_threads()->workers->ParallelFor(
      total, one_by_one, [&](int64_t start, int64_t end) {
        for (int64_t i = start; i < end; ++i) work(i);
      });
}

// Rows of output pixels in blocks: how many blocks, and rows in each. A large kernel is read from afar for each block:
// then blocks are larger too.
struct Blocks {
  int64_t rows, size;
  Blocks(int64_t all_rows, int64_t bytes_a_row, int64_t kernel_bytes = 0) : rows(all_rows) {
    const int64_t bytes = std::min(std::max(kernel_bytes, kBlockBytes), 4 * kBlockBytes);
    const int64_t tiles = bytes / std::max<int64_t>(1, bytes_a_row) / kTileRows;
    size = kTileRows * std::max<int64_t>(1, std::min<int64_t>(tiles, 80));
  }
  int64_t count() const { return (rows + size - 1) / size; }
  int64_t start(int64_t i) const { return i * size; }
  int64_t end(int64_t i) const { return std::min(rows, (i + 1) * size); }
};

// values (rows, taps, channels): what the points of rows [start, end) read.
template <typename T, typename Points>
void ReadRows(const Sizes& s, const Points& points, const T* images, const T* weights, const T* zeros, int64_t start,
              int64_t end, T* values) {
  const int64_t share = s.share();
  for (int64_t row = start; row < end; ++row) {
    const T* image = images + row / s.rows * s.pixels() * s.channels;
    const auto& of_row = points.row(row);
    for (int64_t group = 0; group < s.groups; ++group) {
      for (int64_t tap = 0; tap < s.taps; ++tap) {
        T* to = values + ((row - start) * s.taps + tap) * s.channels + group * share;
        const int64_t point = s.point(row, group, tap);
        const T weight = weights ? weights[point] : T(1);
        Read(of_row.cell(s, point, tap), image + group * share, zeros, weight, share, to);
      }
    }
  }
}

// One thread's part of the derivatives by images and points: some images, or some channels of one.
struct Part {
  int64_t image, begin, count;  // channels [begin, begin + count)
};

// No two threads may add to the same pixel's channel. Where images are few, they share each by its channels.
std::vector<Part> Parts(const Sizes& s, int threads) {
  int64_t parts = 1;
  if (s.batch % threads && s.batch < 4 * threads) parts = std::max<int64_t>(1, std::min<int64_t>(threads, s.channels / 16));
  std::vector<Part> all;
  for (int64_t image = 0; image < s.batch; ++image) {
    for (int64_t i = 0; i < parts; ++i) {
      const int64_t begin = s.channels * i / parts;
      all.push_back({image, begin, s.channels * (i + 1) / parts - begin});
    }
  }
  return all;
}

// The backward pass over rows [start, end) of one part. `upstream` is (rows, taps, part.count).
template <typename T, typename Points>
void BackwardRows(const Sizes& s, const Points& points, const Part& part, const T* images, const T* weights,
                  const T* zeros, const T* upstream, int64_t start, int64_t end, T* images_grad, T* points_grad,
                  T* weights_grad, T* sink) {
  const int64_t first = part.image * s.pixels() * s.channels, share = s.share(), first_group = part.begin / share;
  for (int64_t row = start; row < end; ++row) {
    const auto& of_row = points.row(row);
    for (int64_t group = first_group; group * share < part.begin + part.count; ++group) {
      const int64_t begin = std::max(part.begin, group * share);
      const int64_t count = std::min(part.begin + part.count, (group + 1) * share) - begin;
      for (int64_t tap = 0; tap < s.taps; ++tap) {
        const int64_t point = s.point(row, group, tap);
        const T weight = weights ? weights[point] : T(1);
        const T* up = upstream + ((row - start) * s.taps + tap) * part.count + begin - part.begin;
        const Cell<T> cell = of_row.cell(s, point, tap);
        Differentiate(cell, images + first + begin, zeros, weight, up, count, points_grad + 2 * point,
                      points_grad + 2 * point + 1, weights ? weights_grad + point : nullptr);
        Write(cell, up, weight, count, images_grad + first + begin, sink);
      }
    }
  }
}

// Gradients of points. Where several threads share an image by its channels, each but the first has a copy of its
// own to add to; they are summed at the end.
template <typename T>
struct PointsGrad {
  int64_t points, copies;
  T *coords, *weights;  // the sums; no weights: null
  std::vector<T> more_coords, more_weights;

  PointsGrad(const Sizes& s, int64_t parts, T* coords_sum, T* weights_sum)
      : points(s.batch * s.rows * s.groups * s.taps),
        copies(s.batch ? parts / s.batch : 1),
        coords(coords_sum),
        weights(weights_sum),
        more_coords((copies - 1) * points * 2),
        more_weights(weights_sum ? (copies - 1) * points : 0) {}
  T* coords_of(int64_t copy) { return copy ? more_coords.data() + (copy - 1) * points * 2 : coords; }
  T* weights_of(int64_t copy) { return copy && weights ? more_weights.data() + (copy - 1) * points : weights; }
  void add_up() {
    for (int64_t copy = 1; copy < copies; ++copy) {
      for (int64_t i = 0; i < 2 * points; ++i) coords[i] += coords_of(copy)[i];
      for (int64_t i = 0; weights && i < points; ++i) weights[i] += weights_of(copy)[i];
    }
  }
};

template <typename T>
void Clear(Tensor* tensor) {
  std::fill_n(Data<T>(tensor), tensor->NumElements(), T(0));
}

}  // namespace
}  // namespace deformconv

#endif  // DEFORMCONV_ROWS_H_
