// What the kernels of persistence.cu ask of a GPU of compute capability 8.0 or above, one
// instruction or two each. No header is needed: NVRTC compiles both files as one text.
// tests/cuda_on_cpu.hpp has the same functions for a processor.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;

// Elements of tensors, as they lie in memory.
struct uint8 { u8 bits; };
struct float16 { u16 bits; };
struct bfloat16 { u16 bits; };
struct float32 { float value; };

#define DEVICE __device__ __forceinline__
#define KERNEL(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)
#define SHARED(name) extern __shared__ __align__(16) u32 name[]
#define RESTRICT __restrict__

DEVICE u32 bits_of(float value) { return __float_as_uint(value); }
DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }

// A word of two 16-bit numbers: rounded from two floats, and its halves.
template <class T> DEVICE u32 pack(float low, float high);
template <class T> DEVICE float low(u32 word);
template <class T> DEVICE float high(u32 word);

template <> DEVICE u32 pack<float16>(float low, float high) {
  u32 word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
template <> DEVICE u32 pack<bfloat16>(float low, float high) {
  u32 word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
template <> DEVICE float low<float16>(u32 word) {
  float value;
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, l;}" : "=f"(value) : "r"(word));
  return value;
}
template <> DEVICE float high<float16>(u32 word) {
  float value;
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, h;}" : "=f"(value) : "r"(word));
  return value;
}
template <> DEVICE float low<bfloat16>(u32 word) { return float_of(word << 16); }
template <> DEVICE float high<bfloat16>(u32 word) { return float_of(word & 0xffff0000u); }

// Four bytes of two words; each digit of `selector` names one, 0 to 3 of `a`, 4 to 7 of `b`.
DEVICE u32 permute(u32 a, u32 b, u32 selector) { return __byte_perm(a, b, selector); }

DEVICE float root(float value) {
  float result;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}
DEVICE float reciprocal(float value) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}

// Of all 32 lanes of a warp.
DEVICE float shuffle(float value, int lane) { return __shfl_sync(0xffffffffu, value, lane); }
DEVICE float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
DEVICE u32 largest_of_warp(u32 value) { return __reduce_max_sync(0xffffffffu, value); }

DEVICE void wait_for_warp() { __syncwarp(); }

DEVICE void raise_to(u32* target, u32 value) { atomicMax(target, value); }

// A word that the compiler must not keep in a register.
DEVICE u32 load_again(const u32* source) {
  u32 word;
  asm volatile("ld.global.ca.b32 %0, [%1];" : "=r"(word) : "l"(source));
  return word;
}

// sums (16 × 8) = start + a (16 × 16) · b (16 × 8). multiply_half has the first 8 of the 16, which
// a0, a1 and b.x hold. Lane 4g + q holds of sums (g, 2q), (g, 2q + 1), (g + 8, 2q), (g + 8, 2q + 1);
// of a columns 2q and 2q + 1 in rows g and g + 8; of b rows 2q and 2q + 1 in column g.
template <class T> DEVICE void multiply(
    float (&sums)[4], const float* start, u32 a0, u32 a1, u32 a2, u32 a3, uint2 b);
template <class T> DEVICE void multiply_half(float (&sums)[4], u32 a0, u32 a1, u32 b);

#define MULTIPLY(TYPE, NAME)                                                                     \
  template <> DEVICE void multiply<TYPE>(                                                        \
      float (&sums)[4], const float* start, u32 a0, u32 a1, u32 a2, u32 a3, uint2 b) {          \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." NAME "." NAME ".f32 "                           \
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"                    \
        : "=f"(sums[0]), "=f"(sums[1]), "=f"(sums[2]), "=f"(sums[3])                             \
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b.x), "r"(b.y), "f"(start[0]), "f"(start[1]),  \
          "f"(start[2]), "f"(start[3]));                                                         \
  }                                                                                              \
  template <> DEVICE void multiply_half<TYPE>(float (&sums)[4], u32 a0, u32 a1, u32 b) {         \
    asm("mma.sync.aligned.m16n8k8.row.col.f32." NAME "." NAME ".f32 "                            \
        "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"                                    \
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                             \
        : "r"(a0), "r"(a1), "r"(b));                                                             \
  }
MULTIPLY(float16, "f16")
MULTIPLY(bfloat16, "bf16")
#undef MULTIPLY
