// Work on rows of points: which channels a thread and a group of the kernel have, reading them, and the way back.

#ifndef DEFORMCONV_ROWS_H_
#define DEFORMCONV_ROWS_H_

#include <vector>

#include "multiply.h"
#include "points.h"

namespace deformconv {

constexpr int64_t kBlockBytes = 256 << 10;  // of what the taps read for a few output pixels: half of a small L2 cache

// Rows of output pixels, all `rows` of them, in blocks of `size`. A large kernel is read from afar for each block:
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

// Channels [begin, begin + count) of one image: a thread's part of the derivatives by images and points.
struct Part {
  int64_t image, begin, count;
};

// No two threads may add to the same pixel's channel. Where images are few, they share each by its channels, in pieces
// of `whole` channels that stay together.
inline std::vector<Part> Parts(const Sizes& s, int threads, int64_t whole = 1) {
  int64_t parts = 1;
  if (s.batch % threads && s.batch < 4 * threads) {
    parts = std::max<int64_t>(1, std::min<int64_t>(threads, s.channels / std::max<int64_t>(16, whole)));
  }
  std::vector<Part> all;
  const int64_t pieces = s.channels / whole;
  for (int64_t image = 0; image < s.batch; ++image) {
    for (int64_t i = 0; i < parts; ++i) {
      const int64_t begin = pieces * i / parts * whole;
      all.push_back({image, begin, pieces * (i + 1) / parts * whole - begin});
    }
  }
  return all;
}

// Channels that one group of points reads for one group of the kernel.
struct Piece {
  int64_t points;          // the first point of its group in the row
  int64_t begin, count;    // channels of the image
  int64_t plane, place;    // where the kernel's group has them
};

// What the taps read for a block of rows: a plane (rows, taps, width) for each group of the kernel, so that a matrix
// product finds its left side in one piece.
struct Planes {
  int64_t taps, rows, count, width;  // `rows`: those there is room for
  std::vector<Piece> pieces;

  Planes(const Sizes& s, int64_t block_rows, int64_t begin, int64_t channels, int64_t planes)
      : taps(s.taps), rows(block_rows), count(planes), width(planes ? channels / planes : 0) {
    for (int64_t at = begin; at < begin + channels;) {
      const int64_t group = at / s.share(), plane = (at - begin) / width, place = (at - begin) % width;
      const int64_t end = std::min((group + 1) * s.share(), begin + (plane + 1) * width);
      pieces.push_back({group * s.taps, at, end - at, plane, place});
      at = end;
    }
  }
  int64_t depth() const { return taps * width; }
  int64_t size() const { return count * rows * depth(); }
  int64_t plane(int64_t i) const { return i * rows * depth(); }
  int64_t at(const Piece& piece, int64_t row, int64_t tap) const {
    return plane(piece.plane) + (row * taps + tap) * width + piece.place;
  }
};

// values: what the points of rows [start, end) read. `points.find(row, &cells)` tells where they lie.
template <typename T, typename A, typename V, typename Points>
void ReadRows(const Sizes& s, const Points& points, const Planes& planes, const T* images, const T* weights,
              const T* zeros, int64_t start, int64_t end, Cells<A>* cells, V* values) {
  for (int64_t row = start; row < end; ++row) {
    const T* image = images + row / s.rows * s.pixels() * s.channels;
    const T* of_row = weights ? weights + row * s.points() : nullptr;
    points.find(row, cells);
    cells->weigh(s.points(), of_row);
    for (const Piece& piece : planes.pieces) {
      for (int64_t tap = 0; tap < s.taps; ++tap) {
        Read(*cells, piece.points + tap, image + piece.begin, s.channels, zeros, piece.count,
             values + planes.at(piece, row - start, tap));
      }
    }
  }
}

// Where a part adds up the derivatives by its image: in the result itself, or, for half precision, in a copy in float
// that is rounded once, at the end.
template <typename T>
class ImageGrad {
 public:
  ImageGrad(const Sizes& s, const Part& part, T* images_grad)
      : sizes_(s), part_(part), to_(images_grad + part.image * s.pixels() * s.channels + part.begin) {
    if constexpr (kIsHalf<T>) {
      sums_.assign(s.pixels() * part.count, 0.f);
    } else {
      for (int64_t pixel = 0; pixel < s.pixels(); ++pixel) std::fill_n(to_ + pixel * s.channels, part.count, T(0));
    }
  }
  // The first channel of the part, and from one pixel to the next.
  Sum<T>* data() {
    if constexpr (kIsHalf<T>) return sums_.data();
    else return to_;
  }
  int64_t stride() const { return kIsHalf<T> ? part_.count : sizes_.channels; }
  void finish() {
    if constexpr (kIsHalf<T>) {
      for (int64_t pixel = 0; pixel < sizes_.pixels(); ++pixel) {
        for (int64_t i = 0; i < part_.count; ++i) {
          Store(sums_[pixel * part_.count + i], to_ + pixel * sizes_.channels + i);
        }
      }
    }
  }

 private:
  const Sizes& sizes_;
  const Part& part_;
  T* to_;
  Buffer<float> sums_;
};

// The backward pass over rows [start, end) of a part. `upstream(piece, row, tap)` is the gradient that comes from above
// to what a piece reads; `coords_grad` and `weights_grad` are added to, the latter unless it is null.
template <typename T, typename A, typename Points, typename Upstream>
void BackwardRows(const Sizes& s, const Points& points, const Part& part, const std::vector<Piece>& pieces,
                  const T* images, const T* weights, const T* zeros, int64_t start, int64_t end,
                  const Upstream& upstream, ImageGrad<T>* image_grad, Cells<A>* cells, A* coords_grad, A* weights_grad,
                  A* sink) {
  const T* image = images + part.image * s.pixels() * s.channels;
  for (int64_t row = start; row < end; ++row) {
    const int64_t first = row * s.points();
    points.find(row, cells);
    cells->weigh(s.points(), weights ? weights + first : nullptr);
    for (const Piece& piece : pieces) {
      for (int64_t tap = 0; tap < s.taps; ++tap) {
        const int64_t in_row = piece.points + tap, point = first + in_row;
        const A weight = weights ? A(Load(weights[point])) : A(1);
        const A* up = upstream(piece, row - start, tap);
        Differentiate(*cells, in_row, image + piece.begin, s.channels, zeros, weight, up, piece.count,
                      coords_grad + 2 * point, coords_grad + 2 * point + 1,
                      weights_grad ? weights_grad + point : nullptr);
        Write(*cells, in_row, up, piece.count, image_grad->data() + piece.begin - part.begin,
              image_grad->stride(), sink);
      }
    }
  }
}

// Gradients of points. Where several threads share an image by its channels, each but the first has a copy of its
// own to add to; they are summed at the end. So are those by weights in half precision, which are rounded then.
template <typename T>
class PointsGrad {
 public:
  using A = Sum<T>;

  PointsGrad(const Sizes& s, int64_t parts, A* coords, T* weights)
      : points_(s.batch * s.rows * s.points()),
        copies_(s.batch ? parts / s.batch : 1),
        coords_(coords),
        weights_(weights),
        more_coords_((copies_ - 1) * points_ * 2),
        more_weights_(weights ? (copies_ - !kIsHalf<T>) * points_ : 0) {
    std::fill_n(coords, 2 * points_, A(0));
    if constexpr (!kIsHalf<T>) {
      if (weights) std::fill_n(weights, points_, A(0));
    }
  }
  int64_t copies() const { return copies_; }
  A* coords(int64_t copy) { return copy ? more_coords_.data() + (copy - 1) * points_ * 2 : coords_; }
  A* weights(int64_t copy) {
    if (!weights_) return nullptr;
    if constexpr (kIsHalf<T>) return more_weights_.data() + copy * points_;
    else return copy ? more_weights_.data() + (copy - 1) * points_ : weights_;
  }
  void finish() {
    for (int64_t copy = 1; copy < copies_; ++copy) {
      for (int64_t i = 0; i < 2 * points_; ++i) coords_[i] += coords(copy)[i];
      for (int64_t i = 0; weights_ && i < points_; ++i) weights(0)[i] += weights(copy)[i];
    }
    if constexpr (kIsHalf<T>) {
      for (int64_t i = 0; weights_ && i < points_; ++i) Store(weights(0)[i], weights_ + i);
    }
  }

 private:
  int64_t points_, copies_;
  A* coords_;
  T* weights_;
  std::vector<A> more_coords_, more_weights_;
};

}  // namespace deformconv

#endif  // DEFORMCONV_ROWS_H_
