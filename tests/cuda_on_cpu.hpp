// Runs the kernels of pan_mm/ops/persistence.cu on a processor, to test them without a GPU.
//
// Each thread of a block is a fiber. At a barrier, and where the lanes of a warp exchange something,
// it waits until the others are there. Shared memory is NaN at first. The order is the most unfair
// one: a warp runs until all its threads wait for the block, then the next. WARPS in the environment
// names who goes first: the 'first' warp, the 'last', down to the first, or one in the 'middle', up
// to the last and then from the first. So a missing barrier shows in one of the orders. Alignment,
// bank conflicts and speed do not show here.

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef long long i64;
struct uint2 { u32 x, y; };
struct uint4 { u32 x, y, z, w; };
static uint2 make_uint2(u32 x, u32 y) { return {x, y}; }
static uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }

struct uint8 { u8 bits; };
struct float16 { u16 bits; };
struct bfloat16 { u16 bits; };
struct float32 { float value; };

namespace emulator {

struct Place { int x, y, z; };
static Place thread, block, grid;
static u32* shared;

struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(1 << 16);
  bool is_done;
  i64 barrier;  // which barrier of the block it waits at; -1 while it runs
  i64 exchanges;
};
static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static std::function<void()> body;
static i64 barriers;
static int arrived;
static i64 steps;  // that threads have made: none in a round means that they wait for ever

struct Warp { int arrived; i64 exchanges; float numbers[2][32][12]; };
static std::vector<Warp> warps;

static void leave() { swapcontext(&fibers[thread.x].context, &scheduler); }

static void run_thread() {
  body();
  fibers[thread.x].is_done = true;
  steps++;
  leave();
}

static void wait_for_block() {
  Fiber& own = fibers[thread.x];
  own.barrier = barriers;
  steps++;
  if (++arrived == (int)fibers.size()) {
    arrived = 0;
    barriers++;
  } else {
    while (own.barrier == barriers) leave();
  }
  own.barrier = -1;
}

// What all lanes of the warp show, after all have. Two boards in turns: nobody writes on one that
// another lane still reads.
static float (*show(std::initializer_list<float> numbers))[12] {
  Fiber& own = fibers[thread.x];
  Warp& warp = warps[thread.x / 32];
  auto board = warp.numbers[own.exchanges % 2];
  std::copy(numbers.begin(), numbers.end(), board[thread.x % 32]);
  steps++;
  if (++warp.arrived == 32) {
    warp.arrived = 0;
    warp.exchanges++;
  } else {
    while (warp.exchanges == own.exchanges) leave();
  }
  own.exchanges++;
  return board;
}

// Runs one warp until none of its threads can go on.
static void run_warp(int warp) {
  for (i64 before = -1; before != steps;) {
    before = steps;
    for (int i = 32 * warp; i < 32 * warp + 32; i++) {
      Fiber& fiber = fibers[i];
      if (fiber.is_done || fiber.barrier == barriers) continue;
      thread = {i, 0, 0};
      swapcontext(&scheduler, &fiber.context);
    }
  }
}

// 0, or 1 if threads wait for one that has ended.
static int run_block(Place place) {
  block = place;
  barriers = arrived = 0;
  for (auto& warp : warps) warp.arrived = warp.exchanges = 0;
  for (auto& fiber : fibers) {
    fiber.is_done = false;
    fiber.barrier = -1;
    fiber.exchanges = 0;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    makecontext(&fiber.context, run_thread, 0);
  }
  const char* const order = std::getenv("WARPS");
  const bool is_reverse = order && !std::strcmp(order, "last");
  const int count = warps.size(), shift = order && !std::strcmp(order, "middle") ? count / 2 : 0;
  for (i64 before = -1; before != steps;) {
    before = steps;
    for (int i = 0; i < count; i++) run_warp(is_reverse ? count - 1 - i : (i + shift) % count);
  }
  return !std::all_of(fibers.begin(), fibers.end(), [](const Fiber& f) { return f.is_done; });
}

// 0; 1 if threads wait for ever; 2 if they write behind their shared memory.
static int run(Place of, int threads, size_t bytes, std::function<void()> kernel) {
  grid = of;
  body = kernel;
  fibers.resize(threads);
  warps.resize(threads / 32);
  const size_t behind = 4096;
  std::vector<char> memory(bytes + behind + 16);
  char* const begin = (char*)(((uintptr_t)memory.data() + 15) / 16 * 16);
  shared = (u32*)begin;
  for (int z = 0; z < of.z; z++)
    for (int y = 0; y < of.y; y++)
      for (int x = 0; x < of.x; x++) {
        std::memset(begin, 0xff, bytes + behind);
        if (run_block({x, y, z})) return 1;
        if (std::any_of(begin + bytes, begin + bytes + behind, [](char c) { return c != -1; }))
          return 2;
      }
  return 0;
}

// Arguments of a kernel from pointers to them, as the driver takes them.
template <class... T, size_t... I>
static int call(
    void (*kernel)(T...), std::index_sequence<I...>, Place of, int threads, size_t bytes,
    void** values) {
  return run(of, threads, bytes, [=] { kernel(*(T*)values[I]...); });
}
template <class... T>
static int launch(void (*kernel)(T...), Place of, int threads, size_t bytes, void** values) {
  return call(kernel, std::index_sequence_for<T...>(), of, threads, bytes, values);
}

}  // namespace emulator

#define threadIdx emulator::thread
#define blockIdx emulator::block
#define gridDim emulator::grid
#define __syncthreads emulator::wait_for_block
#define DEVICE inline
#define KERNEL(threads, blocks) static void
#define SHARED(name) u32* const name = emulator::shared
#define RESTRICT

static u32 bits_of(float value) { u32 bits; std::memcpy(&bits, &value, 4); return bits; }
static float float_of(u32 bits) { float value; std::memcpy(&value, &bits, 4); return value; }

template <class T> struct Half;
template <> struct Half<float16> {
  static u32 from(float value) { _Float16 half = value; u16 bits; std::memcpy(&bits, &half, 2); return bits; }
  static float to(u16 bits) { _Float16 half; std::memcpy(&half, &bits, 2); return half; }
};
template <> struct Half<bfloat16> {
  static u32 from(float value) {
    const u32 bits = bits_of(value);
    return value != value ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  }
  static float to(u16 bits) { return float_of((u32)bits << 16); }
};
template <class T> static u32 pack(float low, float high) { return Half<T>::from(low) | Half<T>::from(high) << 16; }
template <class T> static float low(u32 word) { return Half<T>::to(word & 0xffff); }
template <class T> static float high(u32 word) { return Half<T>::to(word >> 16); }

static u32 permute(u32 a, u32 b, u32 selector) {
  u32 word = 0;
  for (int i = 0; i < 4; i++) {
    const u32 from = selector >> 4 * i & 7;
    word |= ((from < 4 ? a : b) >> 8 * (from % 4) & 255) << 8 * i;
  }
  return word;
}

static float root(float value) { return value < 1.1754944e-38f ? 0.f : std::sqrt(value); }
static float reciprocal(float value) { return 1 / value; }

static float shuffle(float value, int lane) { return emulator::show({value})[lane % 32][0]; }
static float shuffle_xor(float value, int mask) {
  const int lane = emulator::thread.x % 32;
  return emulator::show({value})[lane ^ mask][0];
}
static u32 largest_of_warp(u32 value) {
  auto board = emulator::show({float_of(value)});
  u32 largest = 0;
  for (int lane = 0; lane < 32; lane++) largest = std::max(largest, bits_of(board[lane][0]));
  return largest;
}
static void wait_for_warp() { emulator::show({}); }
static void raise_to(u32* target, u32 value) { *target = std::max(*target, value); }
static u32 load_again(const u32* source) { return *source; }

// Lane 4g + q shows columns 2q, 2q + 1, 2q + 8, 2q + 9 of rows g and g + 8 of the left side, and
// these rows of column g of the right side.
template <class T>
static void multiply_columns(
    float (&sums)[4], int columns, u32 a0, u32 a1, u32 a2, u32 a3, uint2 b) {
  auto board = emulator::show(
      {low<T>(a0), high<T>(a0), low<T>(a1), high<T>(a1), low<T>(a2), high<T>(a2), low<T>(a3),
       high<T>(a3), low<T>(b.x), high<T>(b.x), low<T>(b.y), high<T>(b.y)});
  const int group = emulator::thread.x % 32 / 4, member = emulator::thread.x % 4;
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < columns; k++) {
      const int half = k / 8, lane = k % 8 / 2, part = k % 2;
      const float left = board[4 * group + lane][4 * half + 2 * (i / 2) + part];
      const float right = board[4 * (2 * member + i % 2) + lane][8 + 2 * half + part];
      sums[i] += left * right;
    }
}
template <class T>
static void multiply(
    float (&sums)[4], const float* start, u32 a0, u32 a1, u32 a2, u32 a3, uint2 b) {
  std::copy(start, start + 4, sums);
  multiply_columns<T>(sums, 16, a0, a1, a2, a3, b);
}
template <class T> static void multiply_half(float (&sums)[4], u32 a0, u32 a1, u32 b) {
  multiply_columns<T>(sums, 8, a0, a1, 0, 0, {b, 0});
}
