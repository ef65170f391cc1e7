// Persistence of Appearance on tensor cores: the maps, and the gradient of the filters.
//
// The features' differences are a convolution of the frames' differences (paper section 3.1), here
// of up to 8 filters of up to 7 × 7 over up to 3 channels. A block computes a tile of a map. It
// stages the differences of the tile in shared memory, once, as 16-bit numbers; each of its warps
// makes 16 columns and slides down the rows with a window of 8 in registers.
//
// A *cell* is two outputs, columns 2i - 1 and 2i of the tile. Both see columns 2i - 4 ... 2i + 3,
// which begin at an even one, so that no word of two columns is ever shifted. A *slice* is a row of
// the filters in a channel, 8 columns wide, the seven taps in the first or the last seven of them.
// Two slices make a product: a row of channels 0 and 1, or two rows of an odd last channel.
//
//     (2 outputs × 8 filters, 16)  ·  (16 = 2 slices × 8 columns, 8 cells)
//
// Words of both lie side by side in registers, as products want them. The left side, the filters,
// stays in registers. The norm over the filters is taken there, too: forward reads frames, writes
// maps, and nothing else.
//
// The gradient of the filters computes the features again. What a product leaves in the registers
// of a lane lies as the left side of the next one, which sums over cells:
//
//     (2 outputs × 8 filters, 16 = 2 rows × 8 cells)  ·  (16, 8 columns of a slice)
//
// Blocks add up all their tiles in registers and leave one sum each; `reduce` adds these in a fixed
// order, so that results are the same from run to run.
//
// float32 is made of float16: a number scaled by a power of two is cut into two pieces, 22 bits,
// and three of the four products are summed. Differences of bytes need one piece, being exact.
// Every power of two rounds nothing; it is taken out at the end.
//
// Defined by whoever compiles this (see cuda.py):
//   FRAME, MAP            uint8, float16, bfloat16 or float32: elements of frames; of maps and
//                         their gradient
//   WEIGHT                float16, bfloat16 or float32: elements of filters and their gradient
//   PRODUCT               float16 or bfloat16: what is multiplied
//   CHANNELS, LAYOUT      1 to 3; PLANAR, INTERLEAVED (channels last) or ANY
//   DIFFERENCE_PIECES, FILTER_PIECES      1 or 2
//   TILE_WIDTH, TILE_HEIGHT, BLOCKS       of 16, of 8; blocks of a multiprocessor
//   BACKWARD              0 for maps, 1 for gradients

enum { PLANAR, INTERLEAVED, ANY };
constexpr int WARPS = TILE_WIDTH / 16, THREADS = 32 * WARPS;
constexpr int ROWS = TILE_HEIGHT + 6;
constexpr int WORDS = (TILE_WIDTH + 16) / 2;  // of a row: columns x0 - 8 ... x0 + TILE_WIDTH + 7
constexpr int PLANE = ROWS * WORDS, PIECE = CHANNELS * PLANE;
constexpr bool PAIRED = CHANNELS > 1, SINGLE = CHANNELS % 2;  // channels 0 and 1; a last one
constexpr int SLICES = 7 * CHANNELS, ALONE = PAIRED ? 14 : 0;  // the first one of the last channel
constexpr int FRAGMENTS = FILTER_PIECES * SLICES * 2 * 32;  // words: [piece][slice][output][lane]
constexpr int PIECES = DIFFERENCE_PIECES > FILTER_PIECES ? DIFFERENCE_PIECES : FILTER_PIECES;
constexpr int MOST = 40;  // power of two in differences, in filters: squares of eps still fit
constexpr bool SCALES_TILES = DIFFERENCE_PIECES > 1;

template <int BYTES> struct VectorOf { using type = uint4; };  // the widest load of elements
template <> struct VectorOf<1> { using type = uint2; };

template <class A, class B> struct Same { static constexpr bool value = false; };
template <class A> struct Same<A, A> { static constexpr bool value = true; };

// ---- Elements

DEVICE float to_float(uint8 element) { return (float)element.bits; }
DEVICE float to_float(float16 element) { return low<float16>(element.bits); }
DEVICE float to_float(bfloat16 element) { return low<bfloat16>(element.bits); }
DEVICE float to_float(float32 element) { return element.value; }

template <class T> DEVICE T from_float(float value) { return {(u16)pack<T>(value, 0.f)}; }
template <> DEVICE float32 from_float<float32>(float value) { return {value}; }

// Element i of a few words. A byte has 2^23 added, which goes with the difference.
template <class T> DEVICE float element(const u32* words, int i) {
  if constexpr (Same<T, uint8>::value)
    return float_of(permute(words[i / 4], 0x4b000000u, 0x7440 + i % 4));
  else if constexpr (Same<T, float32>::value)
    return float_of(words[i]);
  else
    return i % 2 ? high<T>(words[i / 2]) : low<T>(words[i / 2]);
}

// The magnitude of a number as bits, which are ordered as magnitudes are; 0 where it is not finite.
DEVICE u32 magnitude(float value) {
  const u32 bits = bits_of(value) & 0x7fffffffu;
  return bits < 0x7f800000u ? bits : 0;
}
DEVICE u32 larger(u32 a, u32 b) { return a > b ? a : b; }

// The power of two, from 2^-100 to 2^most, that brings a magnitude to 2^exponent and above.
DEVICE float power_of_two(u32 largest, int exponent, int most) {
  if (!largest) return 1.f;
  const int wanted = exponent + 127 - (int)(largest >> 23);
  return float_of((u32)(127 + (wanted < -100 ? -100 : wanted > most ? most : wanted)) << 23);
}

// Cut two numbers into the pieces of words.
template <int N> DEVICE void cut(u32 (&words)[N], float first, float second) {
#pragma unroll
  for (int piece = 0; piece < N; piece++) {
    words[piece] = pack<PRODUCT>(first, second);
    first -= low<PRODUCT>(words[piece]);
    second -= high<PRODUCT>(words[piece]);
  }
}

DEVICE int channel_of(int slice) { return slice < ALONE ? slice % 2 : CHANNELS - 1; }
DEVICE int row_of(int slice) { return slice < ALONE ? slice / 2 : slice - ALONE; }

// ---- Differences

struct Frames {
  const FRAME* first;
  i64 stride_b, stride_t, stride_c, stride_h, stride_w;  // in elements
  int height, width;

  DEVICE const FRAME* at(int b, int t, int y, int x) const {
    return first + b * stride_b + t * stride_t + y * stride_h + x * stride_w;
  }
};

// N neighbors in memory, of two frames, by the widest loads that may be.
template <int N>
DEVICE void subtract_run(float (&differences)[N], const FRAME* current, const FRAME* following) {
  using Vector = typename VectorOf<sizeof(FRAME)>::type;
  constexpr int COUNT = N * sizeof(FRAME) / sizeof(Vector), SIZE = N / COUNT;
#pragma unroll
  for (int i = 0; i < COUNT; i++) {
    const Vector a = ((const Vector*)current)[i], b = ((const Vector*)following)[i];
#pragma unroll
    for (int k = 0; k < SIZE; k++)
      differences[i * SIZE + k] = element<FRAME>((const u32*)&a, k) - element<FRAME>((const u32*)&b, k);
  }
}

// The differences of 8 columns from x on, a multiple of 8, of a pair of frames; 0 off the frame.
DEVICE void subtract(
    float (&differences)[CHANNELS][8], const Frames& frames, int b, int t, int y, int x) {
#pragma unroll
  for (int c = 0; c < CHANNELS; c++)
#pragma unroll
    for (int i = 0; i < 8; i++) differences[c][i] = 0.f;
  if ((u32)y >= (u32)frames.height) return;
  const FRAME *const current = frames.at(b, t, y, x), *const following = current + frames.stride_t;
  if constexpr (LAYOUT == ANY) {
#pragma unroll
    for (int i = 0; i < 8; i++)
      if ((u32)(x + i) < (u32)frames.width)
#pragma unroll
        for (int c = 0; c < CHANNELS; c++) {
          const i64 offset = c * frames.stride_c + i * frames.stride_w;
          differences[c][i] = to_float(current[offset]) - to_float(following[offset]);
        }
  } else if ((u32)x < (u32)frames.width) {
    if constexpr (LAYOUT == PLANAR) {
#pragma unroll
      for (int c = 0; c < CHANNELS; c++)
        subtract_run(differences[c], current + c * frames.stride_c, following + c * frames.stride_c);
    } else {
      float run[8 * CHANNELS];
      subtract_run(run, current, following);
#pragma unroll
      for (int c = 0; c < CHANNELS; c++)
#pragma unroll
        for (int i = 0; i < 8; i++) differences[c][i] = run[i * CHANNELS + c];
    }
  }
}

// Stage the differences of a tile as words of two columns, which begin at row y0 - 3 and column
// x0 - 8: for each piece [row][word][channel 0 or 1], behind these [row][word] of a last channel.
// Return the power of two in them. All threads of the block come.
DEVICE float stage(u32* tile, const Frames& frames, int b, int t, int y0, int x0) {
  constexpr int RUNS = WORDS / 4;  // of 8 columns
  float scale = 1.f;
  u32* const largest = tile + DIFFERENCE_PIECES * PIECE;
  if (SCALES_TILES && threadIdx.x == 0) *largest = 0;
  __syncthreads();  // the tile before has been read
  if constexpr (SCALES_TILES) {
    u32 own = 0;
#pragma unroll 1
    for (int run = threadIdx.x; run < ROWS * RUNS; run += THREADS) {
      float differences[CHANNELS][8];
      subtract(differences, frames, b, t, y0 - 3 + run / RUNS, x0 - 8 + 8 * (run % RUNS));
#pragma unroll
      for (int c = 0; c < CHANNELS; c++)
#pragma unroll
        for (int i = 0; i < 8; i++) own = larger(own, magnitude(differences[c][i]));
    }
    own = largest_of_warp(own);
    if (threadIdx.x % 32 == 0) raise_to(largest, own);
    __syncthreads();
    scale = power_of_two(*largest, 13, MOST);
  }
#pragma unroll 1
  for (int run = threadIdx.x; run < ROWS * RUNS; run += THREADS) {
    float differences[CHANNELS][8];
    subtract(differences, frames, b, t, y0 - 3 + run / RUNS, x0 - 8 + 8 * (run % RUNS));
    u32 words[CHANNELS][4][DIFFERENCE_PIECES];
#pragma unroll
    for (int c = 0; c < CHANNELS; c++)
#pragma unroll
      for (int k = 0; k < 4; k++)
        cut(words[c][k], differences[c][2 * k] * scale, differences[c][2 * k + 1] * scale);
#pragma unroll
    for (int piece = 0; piece < DIFFERENCE_PIECES; piece++) {
      uint4* const target = (uint4*)(tile + piece * PIECE);
      if constexpr (PAIRED) {
        const auto half = [&](int k) {
          return make_uint4(
              words[0][k][piece], words[1][k][piece], words[0][k + 1][piece], words[1][k + 1][piece]);
        };
        const int odd = run % 2;  // every other lane begins with the second half: other banks
        target[2 * run + odd] = odd ? half(2) : half(0);
        target[2 * run + 1 - odd] = odd ? half(0) : half(2);
      }
      if constexpr (SINGLE) {
        const auto& last = words[CHANNELS - 1];
        target[(PIECE - PLANE) / 4 + run] =
            make_uint4(last[0][piece], last[1][piece], last[2][piece], last[3][piece]);
      }
    }
  }
  __syncthreads();
  return scale;
}

// ---- Features

// Where a lane's outputs are: of a tile's 16 columns of a warp and two of its rows.
struct Lane {
  int warp = threadIdx.x / 32, index = threadIdx.x % 32;
  int group = index / 4, member = index % 4;  // filter or cell; two columns or cells
  // Of the output that sum_over_filters leaves here.
  int row = index >> 4 & 1, output = index >> 3 & 1, cell = 2 * member + (index >> 2 & 1);

  DEVICE int x() const { return 16 * warp - 1 + 2 * cell + output; }
  // Of cell g: the word of columns 2q and 2q + 1.
  DEVICE int word() const { return 8 * warp + group + member + 2; }
};

// A lane's words of 8 rows of differences; row r is in place r % 8.
struct Window {
  uint2 paired[DIFFERENCE_PIECES][8];  // of channels 0 and 1
  uint2 single[DIFFERENCE_PIECES][8];  // of the last channel, in this row and in the next

  DEVICE void load(const u32* tile, int word, int place) {
#pragma unroll
    for (int piece = 0; piece < DIFFERENCE_PIECES; piece++) {
      const u32* const words = tile + piece * PIECE;
      if constexpr (PAIRED) paired[piece][place & 7] = ((const uint2*)words)[word];
      if constexpr (SINGLE)
        single[piece][place & 7].x = single[piece][(place + 7) & 7].y = words[PIECE - PLANE + word];
    }
  }
};

struct Filters {
  u32 words[FILTER_PIECES][SLICES][2];

  template <class Load> DEVICE void load(const u32* fragments, const Lane& lane, Load load) {
#pragma unroll
    for (int piece = 0; piece < FILTER_PIECES; piece++)
#pragma unroll
      for (int slice = 0; slice < SLICES; slice++)
#pragma unroll
        for (int output = 0; output < 2; output++)
          words[piece][slice][output] =
              load(fragments + ((piece * SLICES + slice) * 2 + output) * 32 + lane.index);
  }
};

// Features of rows `top` and `top + 1` of a window, plus eps: for each row (output 0, cells 2q and
// 2q + 1), (output 1, the same cells) of filter g.
DEVICE void convolve(
    float (&features)[2][4], const Filters& filters, const Window& window, int top, float eps) {
  const float start[4] = {eps, eps, eps, eps};
#pragma unroll
  for (int row = 0; row < 2; row++) {
    bool is_first = true;
#pragma unroll
    for (int piece = DIFFERENCE_PIECES - 1; piece >= 0; piece--)  // the smallest products first
#pragma unroll
      for (int part = PIECES - 1 - piece < FILTER_PIECES ? PIECES - 1 - piece : FILTER_PIECES - 1;
           part >= 0; part--) {
        const auto add = [&](int slice, uint2 words) {
          const u32(&first)[2] = filters.words[part][slice];
          const u32(&second)[2] = filters.words[part][slice + 1];
          multiply<PRODUCT>(
              features[row], is_first ? start : features[row], first[0], first[1], second[0],
              second[1], words);
          is_first = false;
        };
        if constexpr (PAIRED)
#pragma unroll
          for (int r = 0; r < 7; r++) add(2 * r, window.paired[piece][(top + row + r) & 7]);
        if constexpr (SINGLE) {
#pragma unroll
          for (int r = 0; r < 6; r += 2)
            add(ALONE + r, window.single[piece][(top + row + r) & 7]);
          const u32(&last)[2] = filters.words[part][ALONE + 6];
          multiply_half<PRODUCT>(
              features[row], last[0], last[1], window.single[piece][(top + row + 6) & 7].x);
        }
      }
  }
}

// The sum of squares over the 8 filters, which lie in 8 lanes. Each lane keeps one of the 8 sums.
DEVICE float sum_over_filters(const float (&features)[2][4], const Lane& lane) {
  float squares[8];
#pragma unroll
  for (int i = 0; i < 8; i++) squares[i] = features[i / 4][i % 4] * features[i / 4][i % 4];
#pragma unroll
  for (int half = 4; half; half /= 2) {
    const bool upper = lane.index & 4 * half;
#pragma unroll
    for (int i = 0; i < half; i++) {
      const float kept = upper ? squares[i + half] : squares[i];
      squares[i] = kept + shuffle_xor(upper ? squares[i] : squares[i + half], 4 * half);
    }
  }
  return squares[0];
}

// ---- Kernels

// Block 0 lays the filters, over the deviations, out as fragments: words[FRAGMENTS], and behind
// them the power of two that they are multiplied by. Each further block leaves the largest
// magnitude of its share of `count` gradients behind that.
KERNEL(256, 1) prepare(
    u32* RESTRICT fragments, const WEIGHT* RESTRICT weight, int num_filters, int size,
    float deviation_0, float deviation_1, float deviation_2, const MAP* RESTRICT gradients,
    i64 count) {
  SHARED(shared);
  float* const taps = (float*)shared;  // [8][CHANNELS][7][7]
  u32* const largest = shared + 8 * SLICES * 7;
  if (threadIdx.x == 0) *largest = 0;
  __syncthreads();
  u32 own = 0;
  if (blockIdx.x > 0) {
    const i64 step = 256 * ((i64)gridDim.x - 1);
    for (i64 i = 256 * ((i64)blockIdx.x - 1) + threadIdx.x; i < count; i += step)
      own = larger(own, magnitude(to_float(gradients[i])));
  } else {
    const int margin = (7 - size) / 2;
    for (int i = threadIdx.x; i < 8 * SLICES * 7; i += 256) {
      const int x = i % 7 - margin, y = i / 7 % 7 - margin, c = i / 49 % CHANNELS, f = i / 49 / CHANNELS;
      const bool exists = f < num_filters && (u32)x < (u32)size && (u32)y < (u32)size;
      const float deviation = c == 0 ? deviation_0 : c == 1 ? deviation_1 : deviation_2;
      const WEIGHT* const tap = weight + ((f * CHANNELS + c) * size + y) * size + x;
      taps[i] = exists ? to_float(*tap) / deviation : 0.f;
      own = larger(own, magnitude(taps[i]));
    }
  }
  own = largest_of_warp(own);
  if (threadIdx.x % 32 == 0) raise_to(largest, own);
  __syncthreads();
  if (blockIdx.x > 0) {
    if (threadIdx.x == 0) fragments[FRAGMENTS + blockIdx.x] = *largest;
    return;
  }
  const float scale = power_of_two(*largest, 7, MOST);
  if (threadIdx.x == 0) fragments[FRAGMENTS] = bits_of(scale);
  for (int i = threadIdx.x; i < SLICES * 2 * 32; i += 256) {
    const int lane = i % 32, output = i / 32 % 2, slice = i / 64, f = lane / 4;
    const int column = 2 * (lane % 4) - output;  // of the taps
    const float* const row = taps + ((f * CHANNELS + channel_of(slice)) * 7 + row_of(slice)) * 7;
    u32 words[FILTER_PIECES];
    cut(words, (u32)column < 7 ? row[column] * scale : 0.f,
        (u32)(column + 1) < 7 ? row[column + 1] * scale : 0.f);
    for (int piece = 0; piece < FILTER_PIECES; piece++)
      fragments[piece * SLICES * 64 + i] = words[piece];
  }
}

#if !BACKWARD

// Maps (B, m - 1, H, W). Grid: the tiles of a map for each of B, and m - 1.
KERNEL(THREADS, BLOCKS) forward(
    MAP* RESTRICT maps, const FRAME* RESTRICT first, const u32* RESTRICT fragments, i64 stride_b,
    i64 stride_t, i64 stride_c, i64 stride_h, i64 stride_w, int num_frames, int height, int width,
    int num_filters, float eps) {
  SHARED(tile);
  const Frames frames = {first, stride_b, stride_t, stride_c, stride_h, stride_w, height, width};
  const Lane lane;
  const int across = (width + TILE_WIDTH) / TILE_WIDTH;  // the first tile begins at column -1
  const int tiles = across * ((height + TILE_HEIGHT - 1) / TILE_HEIGHT);
  const int b = (int)blockIdx.x / tiles, place = (int)blockIdx.x % tiles, t = blockIdx.y;
  const int y0 = place / across * TILE_HEIGHT, x0 = place % across * TILE_WIDTH;
  const int x = x0 + lane.x(), y = y0 + lane.row;
  const int rows = (u32)x < (u32)width ? height - y : 0;  // of this lane, every other one
  MAP* map = maps + (((i64)b * (num_frames - 1) + t) * height + y) * width + x;
  const float scale = stage(tile, frames, b, t, y0, x0) * float_of(fragments[FRAGMENTS]);
  const float start = lane.group < num_filters ? eps * scale : 0.f, unscale = 1.f / scale;
  Filters filters;  // loaded only now: staging needs the registers
  filters.load(fragments, lane, [](const u32* word) { return *word; });
  const int word = lane.word();
  Window window;
#pragma unroll
  for (int row = 0; row < 6; row++) window.load(tile, word + row * WORDS, row);
#pragma unroll 1
  for (int top = 0; top < TILE_HEIGHT; top += 8)
#pragma unroll
    for (int row = 0; row < 8; row += 2) {
      wait_for_warp();  // else the compiler mixes pairs of rows, for which registers do not suffice
      window.load(tile, word + (top + row + 6) * WORDS, row + 6);
      window.load(tile, word + (top + row + 7) * WORDS, row + 7);
      float features[2][4];
      convolve(features, filters, window, row, start);
      const float norm = root(sum_over_filters(features, lane)) * unscale;
      if (top + row < rows) *map = from_float<MAP>(norm);
      map += 2 * width;
    }
}

#else

// Sums of the gradient of the filters, [block][slice][4][lane], as products leave them. Blocks take
// all tiles of all pairs in turns. `largest` is what `prepare` found, `shares` numbers.
KERNEL(THREADS, BLOCKS) backward(
    float* RESTRICT partial, const MAP* RESTRICT gradients, const FRAME* RESTRICT first,
    const u32* RESTRICT fragments, i64 stride_b, i64 stride_t, i64 stride_c, i64 stride_h,
    i64 stride_w, int batch, int num_frames, int height, int width, int num_filters, float eps,
    int shares) {
  SHARED(tile);
  const Frames frames = {first, stride_b, stride_t, stride_c, stride_h, stride_w, height, width};
  const Lane lane;
  const int across = (width + TILE_WIDTH) / TILE_WIDTH, pairs = num_frames - 1;
  const int tiles = across * ((height + TILE_HEIGHT - 1) / TILE_HEIGHT);
  const float filter_scale = float_of(fragments[FRAGMENTS]);
  float gradient_scale = 1.f;
  if constexpr (Same<PRODUCT, float16>::value) {
    u32 largest = 0;
    for (int i = 1; i <= shares; i++) largest = larger(largest, fragments[FRAGMENTS + i]);
    gradient_scale = power_of_two(largest, 12, 2 * MOST);
  }
  Filters filters;
  if constexpr (FILTER_PIECES == 1)
    filters.load(fragments, lane, [](const u32* word) { return *word; });
  float sums[SLICES][4];
#pragma unroll
  for (int slice = 0; slice < SLICES; slice++)
#pragma unroll
    for (int i = 0; i < 4; i++) sums[slice][i] = 0.f;
  float common = 0.f;  // the power of two in the differences of all sums, the smallest of the tiles'
#pragma unroll 1
  for (i64 unit = blockIdx.x; unit < (i64)tiles * pairs * batch; unit += gridDim.x) {
    const int t = unit % pairs, place = unit / pairs % tiles, b = unit / pairs / tiles;
    const int y0 = place / across * TILE_HEIGHT, x0 = place % across * TILE_WIDTH;
    const float tile_scale = stage(tile, frames, b, t, y0, x0);
    if (common == 0.f) common = tile_scale;
    if constexpr (SCALES_TILES)
      if (tile_scale < common) {
#pragma unroll
        for (int slice = 0; slice < SLICES; slice++)
#pragma unroll
          for (int i = 0; i < 4; i++) sums[slice][i] *= tile_scale / common;
        common = tile_scale;
      }
    const float factor = gradient_scale * (common / tile_scale);
    const float start = lane.group < num_filters ? eps * tile_scale * filter_scale : 0.f;
    const int x = x0 + lane.x(), y = y0 + lane.row;
    const int rows = (u32)x < (u32)width ? height - y : 0;
    const MAP* map = gradients + (((i64)b * pairs + t) * height + y) * width + x;
#pragma unroll 1
    for (int top = 0; top < TILE_HEIGHT; top += 2) {
      const float gradient = top < rows ? to_float(*map) * factor : 0.f;
      map += 2 * width;
      float features[2][4];
      {
        Window window;
#pragma unroll
        for (int row = 0; row < 8; row++)
          window.load(tile, lane.word() + (top + row) * WORDS, row);
        if constexpr (FILTER_PIECES > 1) filters.load(fragments, lane, load_again);
        convolve(features, filters, window, 0, start);
      }
      const float square = sum_over_filters(features, lane);
      // A norm of zero has the subgradient zero; `root` takes smaller squares for zero.
      const float ratio = square > 1.2e-38f ? gradient * reciprocal(root(square)) : 0.f;
      u32 left[4][PIECES];  // gradients of features: [row, output][piece]
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int holder = 16 * (i / 2) + 8 * (i % 2) + lane.member;  // of the ratio of cell 2q
        const float* const pair = &features[i / 2][2 * (i % 2)];
        cut(left[i], pair[0] * shuffle(ratio, holder), pair[1] * shuffle(ratio, holder + 4));
      }
      // Columns 2i - 4 + g of cells 2q and 2q + 1: a half each of two neighboring words.
      const int word = top * WORDS + 8 * lane.warp + 2 * lane.member + lane.group / 2 + 2;
      const u32 halves = lane.group % 2 ? 0x7632 : 0x5410;
#pragma unroll
      for (int piece = DIFFERENCE_PIECES - 1; piece >= 0; piece--)
#pragma unroll
        for (int c = 0; c < CHANNELS; c++) {
          const int spacing = c < ALONE / 7 ? 2 : 1;  // of neighboring words
          const u32* const words = tile + piece * PIECE + (spacing == 2 ? c : PIECE - PLANE);
          u32 right[8];
#pragma unroll
          for (int row = 0; row < 8; row++) {
            const u32* const pair = words + (word + row * WORDS) * spacing;
            right[row] = permute(pair[0], pair[spacing], halves);
          }
#pragma unroll
          for (int part = PIECES - 1 - piece; part >= 0; part--)
#pragma unroll
            for (int row = 0; row < 7; row++) {
              float(&sum)[4] = sums[7 * c + row];
              multiply<PRODUCT>(
                  sum, sum, left[0][part], left[1][part], left[2][part], left[3][part],
                  make_uint2(right[row], right[row + 1]));
            }
        }
    }
  }
  // Add up the warps, one after the other.
  float* const all = (float*)tile;
  const float unscale = common == 0.f ? 0.f : 1.f / (common * gradient_scale);
  for (int warp = 0; warp < WARPS; warp++) {
    __syncthreads();
    if (warp == lane.warp)
#pragma unroll
      for (int slice = 0; slice < SLICES; slice++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          float* const sum = all + (slice * 4 + i) * 32 + lane.index;
          *sum = (warp ? *sum : 0.f) + sums[slice][i] * unscale;
        }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < SLICES * 128; i += THREADS)
    partial[(i64)blockIdx.x * (SLICES * 128) + i] = all[i];
}

// The gradient of the filters, (num_filters, CHANNELS, size, size). A block for each slice.
KERNEL(128, 1) reduce(
    WEIGHT* RESTRICT grad_weight, const float* RESTRICT partial, int blocks, int num_filters,
    int size, float deviation_0, float deviation_1, float deviation_2) {
  SHARED(shared);
  float* const sums = (float*)shared;  // [output][filter][column]
  const int c = (int)blockIdx.x / 7, margin = (7 - size) / 2, y = (int)blockIdx.x % 7 - margin;
  const int lane = threadIdx.x % 32, output = threadIdx.x / 64, second = threadIdx.x / 32 % 2;
  float sum = 0.f;
  for (int block = 0; block < blocks; block++)
    sum += partial[((i64)block * SLICES + blockIdx.x) * 128 + threadIdx.x];
  sums[(8 * output + lane / 4) * 8 + 2 * (lane % 4) + second] = sum;
  __syncthreads();
  const int f = threadIdx.x / 7, tap = threadIdx.x % 7, x = tap - margin;
  if (f < num_filters && (u32)y < (u32)size && (u32)x < (u32)size) {
    const float deviation = c == 0 ? deviation_0 : c == 1 ? deviation_1 : deviation_2;
    const float both = sums[8 * f + tap] + sums[8 * (8 + f) + tap + 1];
    WEIGHT* const target = grad_weight + ((f * CHANNELS + c) * size + y) * size + x;
    *target = from_float<WEIGHT>(both / deviation);
  }
}

#endif
