// Backward of the recurrence; see recurrence.cu, which is compiled before it.
//
// Columns of a block's slice are hidden units, ordered so that a thread's are neighbours: in 8-column block j < 8 thread
// `quad` has units 16 quad + 2 j + {0, 1}; the 9th block has the extra units 2 quad + {0, 1}. These are the units of one
// forward block, so its gates are one thread's. The product's depth, 4H gates, is cut in quarters: block q
// of four multiplies quarter q and finishes lane set q of the 2 TILES sets a thread has sums of: tile q / 2, half q % 2.

constexpr int PAIRS = N / 8;  // pairs of units of a thread in one lane

struct Units {  // a thread's units of one lane, as pairs of bfloat16
    u32 v[PAIRS];
    __device__ __forceinline__ void load(const bf16* row, int main, int extra) {
        const uint4* from = reinterpret_cast<const uint4*>(row + main);
        const uint4 a = from[0], b = from[1];
        v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
        if constexpr (EXTRA) v[PAIRS - 1] = *reinterpret_cast<const u32*>(row + extra);
    }
};

// Add the four quarters' sums of this block's lane set (q) to dh, in a fixed order. They are exchanged through L2:
// `partials` (4 quarters, 2 TILES sets, PAIRS, 128 threads) and `arrived` belong to these lanes and columns.
__device__ __forceinline__ void reduce(float2 (&dh)[PAIRS], const float (&acc)[TILES][FRAGMENT], float2* partials, u32* arrived,
                                       u32 target, int q) {
    constexpr int SET = PAIRS * 128;
    const int thread = threadIdx.x & 127, warpgroup = threadIdx.x / 128;
    float2* own = partials + q * 2 * TILES * SET + thread;
#pragma unroll
    for (int set = 0; set < 2 * TILES; ++set) {
#pragma unroll
        for (int j = 0; j < PAIRS; ++j) {
            const float2 v = make_float2(acc[set / 2][4 * j + 2 * (set % 2)], acc[set / 2][4 * j + 2 * (set % 2) + 1]);
            if (set == q) {
                dh[j].x += v.x, dh[j].y += v.y;
            } else {
                __stcg(own + set * SET + j * 128, v);
            }
        }
    }
    warpgroup_sync(warpgroup);
    if (thread == 0) counter_add(arrived);
    if (q >= 2 * TILES) return;
    if (thread == 0) counter_wait(arrived, target);
    warpgroup_sync(warpgroup);
#pragma unroll
    for (int other = 1; other < 4; ++other) {
        const float2* theirs = partials + (((q + other) & 3) * 2 * TILES + q) * SET + thread;
#pragma unroll
        for (int j = 0; j < PAIRS; ++j) {
            const float2 v = __ldcg(theirs + j * 128);
            dh[j].x += v.x, dh[j].y += v.y;
        }
    }
}

struct CellGates {
    float i, f, g, o;
};

// Gradients of one unit's gates before activation; dc in: of this cell, out: of the one before.
__device__ __forceinline__ CellGates cell_backward(float dh, float& dc, CellGates a, float c, float c_before) {
    const float tanh_c = tanh_fast(c);
    dc += dh * a.o * (1.f - tanh_c * tanh_c);
    const CellGates d{dc * a.g * a.i * (1.f - a.i), dc * c_before * a.f * (1.f - a.f), dc * a.i * (1.f - a.g * a.g),
                      dh * tanh_c * a.o * (1.f - a.o)};
    dc *= a.f;
    return d;
}

// Transpose the 4 x 4 pieces of a quad's lanes: piece j of lane i becomes piece i of lane j.
__device__ __forceinline__ void transpose(uint4* const (&piece)[4]) {
#pragma unroll
    for (int bit = 1; bit <= 2; bit *= 2) {
        const bool upper = threadIdx.x & bit;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            if (j & bit) continue;
            uint4 &a = *piece[j], &b = *piece[j | bit], v = upper ? a : b;
            v.x = __shfl_xor_sync(~0u, v.x, bit), v.y = __shfl_xor_sync(~0u, v.y, bit);
            v.z = __shfl_xor_sync(~0u, v.z, bit), v.w = __shfl_xor_sync(~0u, v.w, bit);
            a = upper ? v : a, b = upper ? b : v;
        }
    }
}

// A forward block's columns of one lane: gates, then their gradients. A quad's threads have four blocks, 4 x 128 bytes in
// a row: they load and store 64 neighbouring bytes at a time and sort them out by shuffles.
struct GateSlice {
    uint4 v[PAIRS];  // 8 pieces of the main units, one of the extra ones
    __device__ __forceinline__ void load(const bf16* main, const bf16* extra) {
#pragma unroll
        for (int k = 0; k < 8; ++k) v[k / 2 + k % 2 * 4] = reinterpret_cast<const uint4*>(main)[4 * k];
        if constexpr (EXTRA) v[PAIRS - 1] = *reinterpret_cast<const uint4*>(extra);
    }
    __device__ __forceinline__ void store(bf16* main, bf16* extra) const {
#pragma unroll
        for (int k = 0; k < 8; ++k) reinterpret_cast<uint4*>(main)[4 * k] = v[k / 2 + k % 2 * 4];
        if constexpr (EXTRA) *reinterpret_cast<uint4*>(extra) = v[PAIRS - 1];
    }
    __device__ __forceinline__ void exchange() {  // between the order of addresses and each thread's own block
        transpose({&v[0], &v[1], &v[2], &v[3]});
        transpose({&v[4], &v[5], &v[6], &v[7]});
    }
    __device__ __forceinline__ void differentiate(const float2 (&dh)[PAIRS], float2 (&dc)[PAIRS], const Units& c, const Units& before) {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            uint4 &low_gates = v[j / 2 * 2], &high_gates = v[j / 2 * 2 + 1];  // i and f, g and o
            u32 *i = j % 2 ? &low_gates.y : &low_gates.x, *f = j % 2 ? &low_gates.w : &low_gates.z;
            u32 *g = j % 2 ? &high_gates.y : &high_gates.x, *o = j % 2 ? &high_gates.w : &high_gates.z;
            const CellGates x = cell_backward(dh[j].x, dc[j].x, {low(*i), low(*f), low(*g), low(*o)}, low(c.v[j]), low(before.v[j]));
            const CellGates y = cell_backward(dh[j].y, dc[j].y, {high(*i), high(*f), high(*g), high(*o)}, high(c.v[j]), high(before.v[j]));
            *i = pack(x.i, y.i), *f = pack(x.f, y.f), *g = pack(x.g, y.g), *o = pack(x.o, y.o);
        }
        if constexpr (EXTRA) {
            constexpr int e = PAIRS - 1;
            uint4& last = v[e];
            const CellGates x =
                cell_backward(dh[e].x, dc[e].x, {low(last.x), high(last.x), low(last.y), high(last.y)}, low(c.v[e]), low(before.v[e]));
            const CellGates y =
                cell_backward(dh[e].y, dc[e].y, {low(last.z), high(last.z), low(last.w), high(last.w)}, high(c.v[e]), high(before.v[e]));
            last = make_uint4(pack(x.i, x.f), pack(x.g, x.o), pack(y.i, y.f), pack(y.g, y.o));
        }
    }
};

// Grid: (4 quarters x H / 64 or 16 blocks of columns, batch groups). dout (T, lanes, H); dgates is written whole.
// counters: zero, 32 apart, one a slot, then one for each slot and group of columns.
extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) __launch_bounds__(THREADS, 1)
    lstm_backward(const __grid_constant__ TensorMap weight_map, const __grid_constant__ TensorMap dgates_map, const bf16* gates,
                  const bf16* cells, const bf16* dout, bf16* dgates, float2* partials, u32* counters, int steps, int lanes, int lane0,
                  int lane_end) {
    extern __shared__ __align__(1024) char memory[];
    const u32 smem = shared_address(memory);
    set_up(smem);
    const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), warpgroup = warp / 4;
    const Ring ring(smem);
    const Slot slot(warpgroup & 1, lane0, lane_end);
    const int turns = Slot(1, lane0, lane_end).idle ? 1 : 2;
    const int q = blockIdx.x / CLUSTER % 4, group = blockIdx.x / (4 * CLUSTER) * CLUSTER + cluster_rank();
    const int first_chunk = group / CLUSTER % CHUNKS;
    if (warp >= 8) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (warp == 8 && (threadIdx.x & 31) == 0) {
            load_weight_slice(smem, &weight_map, q * H, N * group);
            Cursor cursor;
            for (int t = steps - 1; t > 0 && !slot.idle; --t) {
                for (int turn = 0; turn < turns; ++turn) {
                    const Slot fed(turn, lane0, lane_end);
                    counter_wait(counters + 32 * fed.index, (steps - t) * gridDim.x);
                    fence_async();
                    load_step(ring, &dgates_map, cursor, first_chunk, make_int3(q * H, fed.first, t));
                }
            }
        }
        __syncwarp();
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        const int quad = threadIdx.x & 3, exchange = slot.index * (gridDim.x / 4) + group;
        const int lane = slot.first + 64 * (q / 2) + 16 * (warp & 3) + 8 * (q % 2) + ((threadIdx.x & 31) >> 2);
        const bool live = q < 2 * TILES && lane < lane_end;
        const int main = 64 * group + 16 * quad, extra = 16 * gridDim.x + 8 * group + 2 * quad;
        const int gates_main = 256 * group + 8 * quad, gates_extra = 64 * gridDim.x + 32 * group + 8 * quad;
        float2* own_partials = partials + size_t(exchange) * 4 * 2 * TILES * PAIRS * 128;
        float2 dc[PAIRS] = {};
        Units c = {};
        if (live) c.load(cells + (size_t(steps) * lanes + lane) * H, main, extra);
        Cursor cursor;
        cursor.advance(warpgroup * LOADS);
        const Turn turn{warpgroup, turns == 1};
        barrier_wait(smem + BARRIER_OFFSET, 0);
        for (int t = steps - 1; t >= 0 && !slot.idle; --t) {
            const size_t row = size_t(t) * lanes + lane;
            GateSlice slice = {};
            Units before = {}, upper = {};
            if (live) {
                slice.load(gates + row * 4 * H + gates_main, gates + row * 4 * H + gates_extra);
                before.load(cells + row * H, main, extra);
                upper.load(dout + row * H, main, extra);
            }
            float2 dh[PAIRS];
#pragma unroll
            for (int j = 0; j < PAIRS; ++j) dh[j] = make_float2(low(upper.v[j]), high(upper.v[j]));
            if (t < steps - 1) {
                float acc[TILES][FRAGMENT] = {};
                turn.take(t == steps - 2);
                multiply(acc, smem, ring, cursor, first_chunk);
                turn.pass(t == 0);
                cursor.advance((turns - 1) * LOADS);
                reduce(dh, acc, own_partials, counters + 32 * (2 * gridDim.y + exchange), 4 * (steps - 1 - t), q);
            }
            slice.exchange();
            slice.differentiate(dh, dc, c, before);
            slice.exchange();
            c = before;
            if (live) slice.store(dgates + row * 4 * H + gates_main, dgates + row * 4 * H + gates_extra);
            fence_async();
            warpgroup_sync(warpgroup);
            if ((threadIdx.x & 127) == 0) counter_add(counters + 32 * slot.index);
        }
    }
    cluster_sync();
}
