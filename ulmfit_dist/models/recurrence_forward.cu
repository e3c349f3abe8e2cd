// Forward of the recurrence; see recurrence.cu, which is compiled before it.
//
// Columns of a block's slice are ordered so that a thread holds all four gates of a unit: in 8-column block j, thread
// `quad` of four has columns 2 quad + {0, 1} = gate j / 2 of units 4 quad + 2 (j % 2) + {0, 1}. The 9th block (72
// columns) has 2 units: quad 0 and 1 the gates (i, f) and (g, o) of the first, 2 and 3 of the second.

struct ForwardUnits {  // which lane of a tile (and the 8th after it) and which units are a thread's
    int lane, quad, odd, main, extra;
    __device__ ForwardUnits() {
        lane = 16 * ((threadIdx.x >> 5) & 3) + ((threadIdx.x & 31) >> 2);
        quad = threadIdx.x & 3;
        odd = quad & 1;
        main = 16 * blockIdx.x + 4 * quad;
        extra = 16 * gridDim.x + 2 * blockIdx.x + quad / 2;
    }
};

// The input's share of a thread's gates in one lane: fetched before the product, added after it (to start the sums from
// it makes the compiler serialize the matrix instructions).
struct InputShare {
    u32 main[8], extra;
    __device__ __forceinline__ void load(const bf16* row, int quad) {  // row: the lane's 4H columns
        const uint4* v = reinterpret_cast<const uint4*>(row + 64 * blockIdx.x + 16 * quad);
        const uint4 a = v[0], b = v[1];
        main[0] = a.x, main[1] = a.y, main[2] = a.z, main[3] = a.w, main[4] = b.x, main[5] = b.y, main[6] = b.z, main[7] = b.w;
        if constexpr (EXTRA) extra = *reinterpret_cast<const u32*>(row + 64 * gridDim.x + 8 * blockIdx.x + 2 * quad);
    }
    __device__ __forceinline__ void add_to(float (&acc)[FRAGMENT], int half) const {
#pragma unroll
        for (int k = 0; k < 8; ++k) acc[4 * k + 2 * half] += low(main[k]), acc[4 * k + 2 * half + 1] += high(main[k]);
        if constexpr (EXTRA) acc[FRAGMENT - 4 + 2 * half] += low(extra), acc[FRAGMENT - 3 + 2 * half] += high(extra);
    }
};

__device__ __forceinline__ float2 lstm_cell(float i, float f, float g, float o, float c) {
    const float next = fmaf(f, c, i * g);
    return make_float2(next, o * tanh_fast(next));
}

// Activate a lane's four main units in place and advance their cells; returns the hidden states.
__device__ __forceinline__ uint2 advance_main(float (&acc)[FRAGMENT], int half, float (&c)[4]) {
    float h[4];
    float* d = acc + 2 * half;
#pragma unroll
    for (int v = 0; v < 4; ++v) {
        const int at = 4 * (v / 2) + v % 2;
        d[at] = sigmoid(d[at]), d[8 + at] = sigmoid(d[8 + at]), d[16 + at] = tanh_fast(d[16 + at]), d[24 + at] = sigmoid(d[24 + at]);
        const float2 ch = lstm_cell(d[at], d[8 + at], d[16 + at], d[24 + at], c[v]);
        c[v] = ch.x, h[v] = ch.y;
    }
    return make_uint2(pack(h[0], h[1]), pack(h[2], h[3]));
}

// The same for the extra unit: even threads take the lane of half 0, odd ones that of half 1, each fetching two gates.
// Returns what the thread stores for both extra units of its lane: quads 0 and 1 hidden states, 2 and 3 cells.
__device__ __forceinline__ u32 advance_extra(float (&acc)[FRAGMENT], const ForwardUnits& at, float& c, uint2& gates) {
    const float* d = acc + FRAGMENT - 4;
    const float got0 = __shfl_xor_sync(~0u, at.odd ? d[0] : d[2], 1);
    const float got1 = __shfl_xor_sync(~0u, at.odd ? d[1] : d[3], 1);
    const float i = sigmoid(at.odd ? got0 : d[0]), f = sigmoid(at.odd ? got1 : d[1]);
    const float g = tanh_fast(at.odd ? d[2] : got0), o = sigmoid(at.odd ? d[3] : got1);
    const float2 ch = lstm_cell(i, f, g, o, c);
    c = ch.x;
    gates = make_uint2(pack(i, f), pack(g, o));
    const float other = __shfl_xor_sync(~0u, at.quad < 2 ? ch.x : ch.y, 2);
    return at.quad < 2 ? pack(ch.y, other) : pack(other, ch.x);
}

__device__ __forceinline__ void store_gates(const float (&acc)[FRAGMENT], int half, bf16* row, int quad) {
    u32 w[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) w[k] = pack(acc[4 * k + 2 * half], acc[4 * k + 2 * half + 1]);
    uint4* to = reinterpret_cast<uint4*>(row + 64 * blockIdx.x + 16 * quad);
    to[0] = make_uint4(w[0], w[1], w[2], w[3]), to[1] = make_uint4(w[4], w[5], w[6], w[7]);
}

// Grid: (H / 16 or 64 blocks of columns, batch groups). gates: in, the input's share with biases; out, activated.
// cell: float32 (lanes, H), in and out. counters: zero, one a slot, 32 apart.
extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) __launch_bounds__(THREADS, 1)
    lstm_forward(const __grid_constant__ TensorMap weight_map, const __grid_constant__ TensorMap hidden_map, bf16* gates, bf16* hidden,
                 bf16* cells, float* cell, u32* counters, int steps, int lanes, int lane0, int lane_end) {
    extern __shared__ __align__(1024) char memory[];
    const u32 smem = shared_address(memory);
    set_up(smem);
    const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), warpgroup = warp / 4;
    const Ring ring(smem);
    const Slot slot(warpgroup & 1, lane0, lane_end);
    const int turns = Slot(1, lane0, lane_end).idle ? 1 : 2;
    const int first_chunk = (blockIdx.x / CLUSTER) % CHUNKS;
    if (warp >= 8) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (warp == 8 && (threadIdx.x & 31) == 0) {
            load_weight_slice(smem, &weight_map, 0, N * blockIdx.x);
            Cursor cursor;
            for (int t = 0; t < steps && !slot.idle; ++t) {
                for (int turn = 0; turn < turns; ++turn) {
                    const Slot fed(turn, lane0, lane_end);
                    counter_wait(counters + 32 * fed.index, t * gridDim.x);
                    fence_async();
                    load_step(ring, &hidden_map, cursor, first_chunk, make_int3(0, fed.first, t));
                }
            }
        }
        __syncwarp();
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        const ForwardUnits at;
        float c[TILES][2][4], c_extra[TILES];
        const auto lane_of = [&](int m, int half) { return slot.first + 64 * m + 8 * half + at.lane; };
#pragma unroll
        for (int m = 0; m < TILES; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int lane = lane_of(m, half);
                const float4 v = lane < lane_end ? *reinterpret_cast<const float4*>(cell + size_t(lane) * H + at.main) : float4{};
                c[m][half][0] = v.x, c[m][half][1] = v.y, c[m][half][2] = v.z, c[m][half][3] = v.w;
            }
            c_extra[m] = EXTRA && lane_of(m, at.odd) < lane_end ? cell[size_t(lane_of(m, at.odd)) * H + at.extra] : 0.f;
        }
        Cursor cursor;
        cursor.advance(warpgroup * LOADS);
        const Turn turn{warpgroup, turns == 1};
        barrier_wait(smem + BARRIER_OFFSET, 0);
        for (int t = 0; t < steps && !slot.idle; ++t) {
            const auto gate_row = [&](int lane) { return gates + (size_t(t) * lanes + lane) * 4 * H; };
            const auto next_row = [&](int lane) { return (size_t(t + 1) * lanes + lane) * H; };
            float acc[TILES][FRAGMENT] = {};
            InputShare input[TILES][2];
#pragma unroll
            for (int m = 0; m < TILES; ++m) {
#pragma unroll
                for (int half = 0; half < 2; ++half) input[m][half].load(gate_row(min(lane_of(m, half), lane_end - 1)), at.quad);
            }
            turn.take(t == 0);
            multiply(acc, smem, ring, cursor, first_chunk);
            turn.pass(t == steps - 1);
            cursor.advance((turns - 1) * LOADS);
            uint2 extra_gates[TILES];
#pragma unroll
            for (int m = 0; m < TILES; ++m) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int lane = lane_of(m, half);
                    input[m][half].add_to(acc[m], half);
                    const uint2 h = advance_main(acc[m], half, c[m][half]);
                    if (lane < lane_end) *reinterpret_cast<uint2*>(hidden + next_row(lane) + at.main) = h;
                }
                if constexpr (EXTRA) {
                    const int lane = lane_of(m, at.odd);
                    const u32 v = advance_extra(acc[m], at, c_extra[m], extra_gates[m]);
                    bf16* to = (at.quad < 2 ? hidden : cells) + next_row(lane) + (at.extra & ~1);
                    if (lane < lane_end) *reinterpret_cast<u32*>(to) = v;
                }
            }
            fence_async();
            warpgroup_sync(warpgroup);
            if ((threadIdx.x & 127) == 0) counter_add(counters + 32 * slot.index);
            // What only backward reads follows the signal, for the signal waits until all stores before it are done.
#pragma unroll
            for (int m = 0; m < TILES; ++m) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int lane = lane_of(m, half);
                    if (lane >= lane_end) continue;
                    store_gates(acc[m], half, gate_row(lane), at.quad);
                    const float(&v)[4] = c[m][half];
                    *reinterpret_cast<uint2*>(cells + next_row(lane) + at.main) = make_uint2(pack(v[0], v[1]), pack(v[2], v[3]));
                }
                if (EXTRA && lane_of(m, at.odd) < lane_end) {
                    bf16* to = gate_row(lane_of(m, at.odd)) + 64 * gridDim.x + 8 * blockIdx.x + 4 * (at.quad / 2);
                    *reinterpret_cast<uint2*>(to) = extra_gates[m];
                }
            }
        }
#pragma unroll
        for (int m = 0; m < TILES; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int lane = lane_of(m, half);
                const float(&v)[4] = c[m][half];
                if (lane < lane_end) *reinterpret_cast<float4*>(cell + size_t(lane) * H + at.main) = make_float4(v[0], v[1], v[2], v[3]);
            }
            if (EXTRA && lane_of(m, at.odd) < lane_end) cell[size_t(lane_of(m, at.odd)) * H + at.extra] = c_extra[m];
        }
    }
    cluster_sync();
}
