// What a training step does beside its matrix products, in one pass over memory each.
//
// Every function computes, number for number, what a chain of torch's own operators does on one
// thread: kernels.py compares the two before it uses one. Hence fma() where torch's compiler fuses,
// and sums that run down the rows. Maps are bfloat16 with the channels of a pixel side by side.

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

using bf16 = std::uint16_t;

inline float widen(bf16 x) {
  std::uint32_t bits = static_cast<std::uint32_t>(x) << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

// To the nearest, of two as near the even one.
inline bf16 narrow(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<bf16>((bits & 0x7fffffffu) > 0x7f800000u ? 0xffffu : rounded);
}

struct Adam {
  float rest1, beta2, rest2, root, eps, rate;
};

template <typename G>
void adam(float* __restrict w, const G* __restrict g, float* __restrict m, float* __restrict v,
          bf16* __restrict cast, std::int64_t n, Adam o) {
  for (std::int64_t i = 0; i < n; ++i) {
    float gradient;
    if constexpr (sizeof(G) == 2) gradient = widen(g[i]); else gradient = g[i];
    float mean = std::fma(gradient - m[i], o.rest1, m[i]);
    float square = std::fma(gradient * o.rest2, gradient, v[i] * o.beta2);
    m[i] = mean;
    v[i] = square;
    float moved = w[i] - o.rate * mean / (std::sqrt(square) / o.root + o.eps);
    w[i] = moved;
    if constexpr (sizeof(G) == 2) cast[i] = narrow(moved);
  }
}

template <typename G>
void sgd(float* __restrict w, const G* __restrict g, float* __restrict v, bf16* __restrict cast,
         std::int64_t n, float momentum, float rate, bool first) {
  float kept = first ? 0.0f : momentum;
  for (std::int64_t i = 0; i < n; ++i) {
    float gradient;
    if constexpr (sizeof(G) == 2) gradient = widen(g[i]); else gradient = g[i];
    float velocity = v[i] * kept + gradient;
    v[i] = velocity;
    float moved = std::fma(velocity, -rate, w[i]);
    w[i] = moved;
    if constexpr (sizeof(G) == 2) cast[i] = narrow(moved);
  }
}

// What of a gradient passes through ReLU, whose output is y.
inline bf16 passed(bf16 dy, bf16 y, bool relu) { return !relu || widen(y) > 0 ? dy : 0; }

// Channels that are summed side by side, so that the sums stay in registers.
constexpr std::int64_t BLOCK = 64;

}  // namespace

extern "C" {

// The weights in `pieces` stretches, each with a gradient of its own; `wide` says float32, where
// there is nothing to cast.
void adam_step(std::int64_t pieces, const void* const* gradients, const std::int64_t* sizes,
               const bool* wide, float* w, float* m, float* v, bf16* cast, float rest1,
               float beta2, float rest2, float root, float eps, float rate) {
  Adam o{rest1, beta2, rest2, root, eps, rate};
  for (std::int64_t p = 0; p < pieces; ++p) {
    std::int64_t n = sizes[p];
    if (wide[p]) {
      adam(w, static_cast<const float*>(gradients[p]), m, v, static_cast<bf16*>(nullptr), n, o);
    } else {
      adam(w, static_cast<const bf16*>(gradients[p]), m, v, cast, n, o);
      cast += n;
    }
    w += n, m += n, v += n;
  }
}

void sgd_step(std::int64_t pieces, const void* const* gradients, const std::int64_t* sizes,
              const bool* wide, float* w, float* v, bf16* cast, float momentum, float rate,
              bool first) {
  for (std::int64_t p = 0; p < pieces; ++p) {
    std::int64_t n = sizes[p];
    if (wide[p]) {
      sgd(w, static_cast<const float*>(gradients[p]), v, static_cast<bf16*>(nullptr), n, momentum,
          rate, first);
    } else {
      sgd(w, static_cast<const bf16*>(gradients[p]), v, cast, n, momentum, rate, first);
      cast += n;
    }
    w += n, v += n;
  }
}

// Batch norm of `rows` pixels in training, then what is `added` if any, then ReLU if `relu`.
void norm_forward(const bf16* x, const bf16* added, bf16* y, const float* weight,
                  const float* bias, float* running_mean, float* running_var, float* mean,
                  float* invstd, std::int64_t rows, std::int64_t channels, double eps,
                  float momentum, bool relu) {
  const float count = static_cast<float>(rows);
  for (std::int64_t start = 0; start < channels; start += BLOCK) {
    float sum[BLOCK] = {}, square[BLOCK] = {}, alpha[BLOCK], beta[BLOCK];
    for (std::int64_t r = 0; r < rows; ++r) {
      const bf16* at = x + r * channels + start;
      for (std::int64_t c = 0; c < BLOCK; ++c) sum[c] += widen(at[c]);
    }
    for (std::int64_t c = 0; c < BLOCK; ++c) sum[c] /= count;
    for (std::int64_t r = 0; r < rows; ++r) {
      const bf16* at = x + r * channels + start;
      for (std::int64_t c = 0; c < BLOCK; ++c) {
        float off = widen(at[c]) - sum[c];
        square[c] = std::fma(off, off, square[c]);
      }
    }
    for (std::int64_t c = 0; c < BLOCK; ++c) {
      std::int64_t k = start + c;
      mean[k] = sum[c];
      invstd[k] = static_cast<float>(1 / std::sqrt(square[c] / count + eps));
      running_mean[k] = momentum * sum[c] + (1 - momentum) * running_mean[k];
      float unbiased = square[c] / static_cast<float>(rows - 1);
      running_var[k] = momentum * unbiased + (1 - momentum) * running_var[k];
      alpha[c] = invstd[k] * weight[k];
      beta[c] = std::fma(-sum[c], alpha[c], bias[k]);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t at = r * channels + start;
      if (added) {
        for (std::int64_t c = 0; c < BLOCK; ++c) {
          float z = widen(narrow(std::fma(widen(x[at + c]), alpha[c], beta[c])));
          z = widen(narrow(z + widen(added[at + c])));
          y[at + c] = narrow(relu && z < 0 ? 0.0f : z);
        }
      } else {
        for (std::int64_t c = 0; c < BLOCK; ++c) {
          float z = std::fma(widen(x[at + c]), alpha[c], beta[c]);
          y[at + c] = narrow(relu && z < 0 ? 0.0f : z);
        }
      }
    }
  }
}

// Its backward pass: the gradients of `x`, and of what was added if `dadded`.
void norm_backward(const bf16* dy, const bf16* y, const bf16* x, bf16* dx, bf16* dadded,
                   const float* weight, const float* mean, const float* invstd, float* dweight,
                   float* dbias, std::int64_t rows, std::int64_t channels, bool relu) {
  const float count = static_cast<float>(rows);
  for (std::int64_t start = 0; start < channels; start += BLOCK) {
    float sum[BLOCK] = {}, dot[BLOCK] = {}, k[BLOCK], shift[BLOCK], center[BLOCK];
    for (std::int64_t c = 0; c < BLOCK; ++c) center[c] = mean[start + c];
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t at = r * channels + start;
      for (std::int64_t c = 0; c < BLOCK; ++c) {
        float gradient = widen(passed(dy[at + c], y[at + c], relu));
        sum[c] += gradient;
        dot[c] = std::fma(widen(x[at + c]) - center[c], gradient, dot[c]);
      }
    }
    for (std::int64_t c = 0; c < BLOCK; ++c) {
      float inverse = invstd[start + c];
      k[c] = dot[c] * inverse * inverse / count;
      shift[c] = sum[c] / count;
      dweight[start + c] = dot[c] * inverse;
      dbias[start + c] = sum[c];
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t at = r * channels + start;
      if (dadded)
        for (std::int64_t c = 0; c < BLOCK; ++c)
          dadded[at + c] = passed(dy[at + c], y[at + c], relu);
      for (std::int64_t c = 0; c < BLOCK; ++c) {
        float off = widen(x[at + c]) - center[c];
        float z = widen(passed(dy[at + c], y[at + c], relu)) - shift[c] - off * k[c];
        dx[at + c] = narrow(z * invstd[start + c] * weight[start + c]);
      }
    }
  }
}

// Windows of `n` maps as rows; `pixel` is the bytes of one pixel. Pixels outside of a map are zero.
// `backwards` puts the last tap of a window first.
void gather(const char* x, char* columns, std::int64_t n, std::int64_t height, std::int64_t width,
            std::int64_t pixel, std::int64_t down, std::int64_t across, std::int64_t kernel_down,
            std::int64_t kernel_across, std::int64_t stride_down, std::int64_t stride_across,
            std::int64_t dilation_down, std::int64_t dilation_across, std::int64_t before_down,
            std::int64_t before_across, bool backwards) {
  char* to = columns;
  const std::int64_t taps = kernel_down * kernel_across;
  for (std::int64_t i = 0; i < n; ++i, x += height * width * pixel)
    for (std::int64_t row = 0; row < down; ++row)
      for (std::int64_t column = 0; column < across; ++column)
        for (std::int64_t t = 0; t < taps; ++t, to += pixel) {
          const std::int64_t tap = backwards ? taps - 1 - t : t;
          const std::int64_t h =
              row * stride_down + tap / kernel_across * dilation_down - before_down;
          const std::int64_t w =
              column * stride_across + tap % kernel_across * dilation_across - before_across;
          if (h >= 0 && h < height && w >= 0 && w < width)
            std::memcpy(to, x + (h * width + w) * pixel, pixel);
          else
            std::memset(to, 0, pixel);
        }
}

}  // extern "C"
