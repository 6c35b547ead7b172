// A two-class support vector machine on a kernel matrix, step for step as libsvm solves it.
//
// Sequential minimal optimisation with second-order selection (Fan, Chen and Lin, JMLR 6, 2005) and
// shrinking (Chang and Lin, LIBSVM, ACM TIST 2(3), 2011, section 4). Every sum is taken in libsvm's
// order and precision: 32-bit kernel values, 64-bit everything else, no fused operations. So each
// step is libsvm's own, and so is the solution, to the bit; smo.py compares the two before it uses
// this. What is faster: eight images at a time, no kernel cache, one pass over the images to
// update them and to select the first of the next two.
//
// libsvm moves the images that it lays aside behind the others. Here every image keeps its place,
// and `rank` has the place that it has in libsvm: of two as good, the later one is selected.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

namespace {

constexpr int LANES = 8;
// Images that are compared with the best one together.
constexpr std::int64_t BLOCK = 32;
constexpr double INF = std::numeric_limits<double>::infinity();
// libsvm's constants: tolerance, least curvature.
constexpr double EPS = 1e-3, TAU = 1e-12;

using Wide = double __attribute__((vector_size(64)));

inline Wide load(const double* from) {
  Wide values;
  std::memcpy(&values, from, sizeof values);
  return values;
}

inline Wide load(const float* from) {
  Wide values;
  for (int lane = 0; lane < LANES; ++lane) values[lane] = from[lane];
  return values;
}

inline double largest(Wide values) {
  double lanes[LANES];
  std::memcpy(lanes, &values, sizeof lanes);
  for (int half = LANES / 2; half; half /= 2)
    for (int lane = 0; lane < half; ++lane)
      lanes[lane] = std::max(lanes[lane], lanes[lane + half]);
  return lanes[0];
}

// The image with the largest value, the one of highest rank if several have it.
struct Best {
  double value;
  std::int64_t rank = -1;

  void offer(double other, std::int64_t its_rank) {
    if (other > value || (other == value && its_rank > rank)) value = other, rank = its_rank;
  }
};

class Solver {
 public:
  // The first `positive` of `n` images are of class +1. BLOCK numbers more follow their kernel
  // matrix.
  Solver(const float* kernel, const double* diagonal, std::int64_t n, std::int64_t positive,
         double c)
      : kernel(kernel), n(n), c(c), padded((n + BLOCK - 1) / BLOCK * BLOCK),
        diagonal(padded, 1), sign(padded, -1), alpha(padded, 0), force(padded, 0), bounded(padded, 0),
        up(padded, -INF), low(padded, INF), rank(padded, -1), order(n), active(n) {
    std::copy(diagonal, diagonal + n, this->diagonal.begin());
    std::fill(sign.begin(), sign.begin() + positive, 1);
    for (std::int64_t i = 0; i < n; ++i) order[i] = i, force[i] = sign[i];
    restrict();
  }

  std::int64_t solve() {
    std::int64_t steps = 0, until_shrinking = std::min<std::int64_t>(n, 1000) + 1;
    auto first = move(0, 0, 0, 0);
    for (;; ++steps) {
      if (--until_shrinking == 0) {
        until_shrinking = std::min<std::int64_t>(n, 1000);
        shrink();
        first = move(0, 0, 0, 0);
      }
      std::int64_t second = partner(first);
      if (second < 0) {
        restore();
        first = move(0, 0, 0, 0);
        second = partner(first);
        if (second < 0) return steps;
        until_shrinking = 1;
      }
      first = step(order[first.rank], second);
    }
  }

  double offset() const {
    double least = INF, most = -INF, sum = 0;
    std::int64_t free = 0;
    for (std::int64_t i : order) {
      double value = -force[i];
      if (is_free(i)) ++free, sum += value;
      else if (up[i] == 0) least = std::min(least, value);
      else most = std::max(most, value);
    }
    return free ? sum / free : (least + most) / 2;
  }

  void write(double* coefficients) const {
    for (std::int64_t i = 0; i < n; ++i) coefficients[i] = sign[i] * alpha[i];
  }

 private:
  const float* kernel;
  std::int64_t n;
  double c;
  std::int64_t padded;
  // `force` is -y times the gradient, `bounded` what those at the upper bound contribute to it. `up`
  // is 0 for an image that may move up (y alpha may grow), else -INF; `low` 0 or INF accordingly.
  std::vector<double> diagonal, sign, alpha, force, bounded, up, low;
  // Images in libsvm's order, those that are not laid aside first.
  std::vector<std::int64_t> rank, order;
  std::int64_t active;
  bool restored = false;

  const float* row(std::int64_t i) const { return kernel + i * n; }
  bool is_upper(std::int64_t i) const { return alpha[i] >= c; }
  bool is_lower(std::int64_t i) const { return !is_upper(i) && alpha[i] <= 0; }
  bool is_free(std::int64_t i) const { return !is_upper(i) && !is_lower(i); }

  void place(std::int64_t i) {
    up[i] = (sign[i] > 0 ? is_upper(i) : is_lower(i)) ? -INF : 0;
    low[i] = (sign[i] > 0 ? is_lower(i) : is_upper(i)) ? INF : 0;
  }

  // Let no image that is laid aside be selected.
  void restrict() {
    for (std::int64_t place_of = 0; place_of < n; ++place_of) {
      std::int64_t i = order[place_of];
      rank[i] = place_of;
      place(i);
      if (place_of >= active) up[i] = -INF, low[i] = INF;
    }
  }

  // Add to the forces what images i and j exert whose y alpha changed; return the force and the rank
  // of the image that is pushed up most.
  Best move(std::int64_t i, double change_i, std::int64_t j, double change_j) {
    const float *row_i = row(i), *row_j = row(j);
    Best best{-INF};
    for (std::int64_t start = 0; start < padded; start += BLOCK) {
      Wide most = Wide{} - INF;
      for (std::int64_t t = start; t < start + BLOCK; t += LANES) {
        Wide now = load(&force[t]) - (load(row_i + t) * change_i + load(row_j + t) * change_j);
        std::memcpy(&force[t], &now, sizeof now);
        now += load(&up[t]);
        most = now > most ? now : most;
      }
      if (largest(most) >= best.value)
        for (std::int64_t t = start; t < start + BLOCK; ++t) best.offer(force[t] + up[t], rank[t]);
    }
    return best;
  }

  // Return the image which, moved down with `first` up, gains most; -1 if all are optimal.
  std::int64_t partner(Best first) const {
    if (first.value == -INF) return -1;
    const float* row_i = row(order[first.rank]);
    const double diagonal_i = diagonal[order[first.rank]];
    Best best{0};
    Wide least = Wide{} + INF;
    for (std::int64_t start = 0; start < padded; start += BLOCK) {
      Wide most = Wide{} - INF;
      // Less than the best gain by more than rounding: saves the division.
      const double bound = best.value * (1 - 1e-9);
      for (std::int64_t t = start; t < start + BLOCK; t += LANES) {
        Wide its = load(&force[t]) + load(&low[t]);
        least = its < least ? its : least;
        Wide gap = first.value - its;
        gap = gap > 0 ? gap : Wide{};
        Wide curvature = (diagonal_i + load(&diagonal[t])) - 2 * load(row_i + t);
        Wide excess = gap * gap - bound * (curvature > 0 ? curvature : Wide{} + TAU);
        most = excess > most ? excess : most;
      }
      if (largest(most) < 0) continue;
      for (std::int64_t t = start; t < start + BLOCK; ++t) {
        double gap = first.value - (force[t] + low[t]);
        if (!(gap > 0)) continue;
        double curvature = (diagonal_i + diagonal[t]) - 2 * static_cast<double>(row_i[t]);
        best.offer(gap * gap / (curvature > 0 ? curvature : TAU), rank[t]);
      }
    }
    return first.value + largest(-least) < EPS || best.rank < 0 ? -1 : order[best.rank];
  }

  Best step(std::int64_t i, std::int64_t j) {
    double curvature = diagonal[i] + diagonal[j] - 2 * static_cast<double>(row(i)[j]);
    if (curvature <= 0) curvature = TAU;
    double &a = alpha[i], &b = alpha[j];
    const double a_before = a, b_before = b;
    const bool upper_i = is_upper(i), upper_j = is_upper(j);
    if (sign[i] != sign[j]) {
      double delta = (sign[i] * force[i] + sign[j] * force[j]) / curvature, kept = a - b;
      a += delta, b += delta;
      if (kept > 0) {
        if (b < 0) b = 0, a = kept;
        if (a > c) a = c, b = c - kept;
      } else {
        if (a < 0) a = 0, b = -kept;
        if (b > c) b = c, a = c + kept;
      }
    } else {
      double delta = (sign[j] * force[j] - sign[i] * force[i]) / curvature, kept = a + b;
      a -= delta, b += delta;
      if (kept > c) {
        if (a > c) a = c, b = kept - c;
        if (b > c) b = c, a = kept - c;
      } else {
        if (b < 0) b = 0, a = kept;
        if (a < 0) a = 0, b = kept;
      }
    }
    place(i), place(j);
    if (is_upper(i) != upper_i) exert(bounded, i, upper_i ? -c : c);
    if (is_upper(j) != upper_j) exert(bounded, j, upper_j ? -c : c);
    return move(i, sign[i] * (a - a_before), j, sign[j] * (b - b_before));
  }

  void exert(std::vector<double>& on, std::int64_t i, double amount) const {
    const float* row_i = row(i);
    const double factor = sign[i] * amount;
    for (std::int64_t t = 0; t < n; ++t) on[t] -= factor * row_i[t];
  }

  // Lay aside images at a bound which are pushed further beyond it than any other could balance.
  void shrink() {
    double highest = -INF, lowest = INF;
    for (std::int64_t i = 0; i < n; ++i) {
      highest = std::max(highest, force[i] + up[i]);
      lowest = std::min(lowest, force[i] + low[i]);
    }
    if (!restored && highest - lowest <= EPS * 10) restored = true, restore();
    auto aside = [&](std::int64_t i) {
      return !is_free(i) && (up[i] == 0 ? force[i] < lowest : force[i] > highest);
    };
    std::int64_t from = 0;
    for (; from < active; ++from) {
      if (!aside(order[from])) continue;
      --active;
      while (active > from && aside(order[active])) --active;
      if (active > from) std::swap(order[from], order[active]);
    }
    restrict();
  }

  // Compute the forces on images that were laid aside, and take all up again.
  void restore() {
    if (active == n) return;
    std::vector<double> all(padded);
    for (std::int64_t i = 0; i < n; ++i) all[i] = bounded[i] + sign[i];
    for (std::int64_t k = 0; k < active; ++k)
      if (is_free(order[k])) exert(all, order[k], alpha[order[k]]);
    for (std::int64_t k = active; k < n; ++k) force[order[k]] = all[order[k]];
    active = n;
    restrict();
  }
};

}  // namespace

extern "C" void solve_pair(const float* kernel, const double* diagonal, std::int64_t n,
                           std::int64_t positive, double c, double* coefficients, double* intercept,
                           std::int64_t* steps) {
  Solver solver(kernel, diagonal, n, positive, c);
  *steps = solver.solve();
  *intercept = -solver.offset();
  solver.write(coefficients);
}
