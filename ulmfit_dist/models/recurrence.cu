// The recurrence of an LSTM layer on Hopper: one persistent kernel runs all time steps of forward, one those of backward.
// This part holds what both share; recurrence_forward.cu and recurrence_backward.cu are compiled after it.
//
// Both are the same product, (lanes x H) by (H x 4H) or its transpose, once a step, so both are laid out alike:
//   - A thread block keeps its slice of the recurrent weight in shared memory for all steps: N = 64 or 72 columns.
//     Forward: the four gates of 16 (or 18) hidden units, depth H. Backward: 64 (or 72) hidden units, a quarter of
//     the depth 4H; four blocks have the four quarters and add their sums through L2.
//   - A block has two consumer warpgroups, each with its own lanes and step counter, which take turns: one multiplies
//     while the other finishes its cells and waits for its neighbours. A producer warp feeds both by TMA through one
//     ring of stages. What it can hold in flight bounds the speed (a load takes about 1 us), so they share it.
//   - Blocks that share lanes exchange hidden states (gradients of gates, backward) through L2, once a step: each adds 1
//     to the counter of the lanes' slot, producers wait until all have. All blocks must be resident at the same time.
//
// Compiled at run time with HIDDEN (H, multiple of 64, <= 1152), TILES (64-lane tiles of a warpgroup: 1 or 2), STAGES,
// CLUSTER (blocks that share their loads by multicast).
// Layouts: hidden and cells (T + 1, lanes, H) whose first row is the initial state. gates and dgates (T, lanes, 4H) lie
// as the blocks want them, so that accesses are wide and whole sectors: for each forward block 4 quads x (4 gates x 4
// units), 128 bytes; then for each (72 columns) 2 units x 4 gates. `ForwardUnits` says which units.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short bf16;  // the bits of a bfloat16

struct alignas(64) TensorMap {
    char opaque[128];
};

constexpr int H = HIDDEN;
constexpr bool EXTRA = H > 1024;     // 1152 = 64 blocks x 18 units; up to 1024 a block has 16
constexpr int N = EXTRA ? 72 : 64;   // width of a matrix instruction
constexpr int FRAGMENT = N / 2;      // accumulators of a thread, for 64 lanes
constexpr int CHUNKS = H / 64;       // a chunk is 64 of the depth: 128 bytes, one swizzled row
constexpr int W_CHUNK_BYTES = N * 128;
constexpr int STAGE_BYTES = 64 * 128;
constexpr int RING_BYTES = STAGES * STAGE_BYTES;
constexpr int RING_OFFSET = CHUNKS * W_CHUNK_BYTES;
constexpr int BARRIER_OFFSET = RING_OFFSET + RING_BYTES;
constexpr int THREADS = 384;  // two consumer warpgroups, one for the producer (setmaxnreg takes whole warpgroups)
constexpr long long WAIT_LIMIT = 1'200'000'000'000;  // clocks, 10 minutes: a lost neighbour becomes an error, not a hang

// ---- instructions ----

__device__ __forceinline__ u32 shared_address(const void* p) { return static_cast<u32>(__cvta_generic_to_shared(p)); }

__device__ __forceinline__ u32 cluster_rank() {
    u32 r;
    asm volatile("mov.u32 %0, %cluster_ctarank;" : "=r"(r));
    return r;
}

__device__ __forceinline__ void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

__device__ __forceinline__ u32 peer_address(u32 address, u32 rank) {
    u32 r;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(r) : "r"(address), "r"(rank));
    return r;
}

__device__ __forceinline__ void barrier_init(u32 barrier, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}

__device__ __forceinline__ void barrier_expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void barrier_arrive_at(u32 barrier, u32 rank) {
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(peer_address(barrier, rank)) : "memory");
}

__device__ __forceinline__ bool barrier_passed(u32 barrier, u32 phase) {
    u32 done;
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
        : "=r"(done) : "r"(barrier), "r"(phase) : "memory");
    return done != 0;
}

__device__ __forceinline__ void barrier_wait(u32 barrier, u32 phase) {
    if (barrier_passed(barrier, phase)) return;
    const long long start = clock64();
    while (!barrier_passed(barrier, phase)) {
        if (clock64() - start > WAIT_LIMIT) __trap();
    }
}

// Generic writes before it are seen by TMA loads after it (and the other way round).
__device__ __forceinline__ void fence_async() { asm volatile("fence.proxy.async.global;" ::: "memory"); }

__device__ __forceinline__ void warpgroup_sync(int warpgroup) { asm volatile("bar.sync %0, 128;" ::"r"(warpgroup + 1) : "memory"); }

__device__ __forceinline__ void counter_add(u32* counter) {
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
}

__device__ __forceinline__ void counter_wait(const u32* counter, u32 target) {
    const long long start = clock64();
    for (;;) {
        u32 seen;
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory");
        if (seen >= target) return;
        if (clock64() - start > WAIT_LIMIT) __trap();
    }
}

__device__ __forceinline__ void load_weights(u32 destination, const TensorMap* map, u32 barrier, int column, int row) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(destination),
        "l"(map), "r"(barrier), "r"(column), "r"(row)
        : "memory");
}

__device__ __forceinline__ void load_tile(u32 destination, const TensorMap* map, u32 barrier, int3 at) {
    if constexpr (CLUSTER == 1) {
        asm volatile(
            "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(
                destination),
            "l"(map), "r"(barrier), "r"(at.x), "r"(at.y), "r"(at.z)
            : "memory");
    } else {
        asm volatile(
            "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
            " [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(destination),
            "l"(map), "r"(barrier), "r"(at.x), "r"(at.y), "r"(at.z), "h"(static_cast<bf16>((1 << CLUSTER) - 1))
            : "memory");
    }
}

// Matrix descriptor: rows of 128 bytes swizzled by 128, 8 rows (1024 bytes) to the next group. Its low word counts
// addresses in 16 bytes; steps are added to it, for computing each anew keeps the tensor cores waiting.
__device__ __forceinline__ u32 descriptor_low(u32 address) { return (1u << 16) | (address >> 4); }
__device__ __forceinline__ u64 descriptor(u32 low) { return (((1ull << 30) | 64) << 32) | low; }

#define ACC4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define ACC32 ACC4(0), ACC4(4), ACC4(8), ACC4(12), ACC4(16), ACC4(20), ACC4(24), ACC4(28)
#define TEXT32                                                                                      \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20" \
    ", %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"

// d (64 lanes x N) += a (64 lanes x 16) b (N x 16) transposed.
__device__ __forceinline__ void multiply_add(float (&d)[FRAGMENT], u64 a, u64 b) {
    if constexpr (EXTRA) {
        asm volatile("wgmma.mma_async.sync.aligned.m64n72k16.f32.bf16.bf16 {" TEXT32
                     ", %32, %33, %34, %35}, %36, %37, 1, 1, 1, 0, 0;"
                     : ACC32, ACC4(FRAGMENT - 4) : "l"(a), "l"(b));
    } else {
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" TEXT32 "}, %32, %33, 1, 1, 1, 0, 0;"
                     : ACC32 : "l"(a), "l"(b));
    }
}

// ---- bfloat16 and activations ----

__device__ __forceinline__ float low(u32 pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(u32 pair) { return __uint_as_float(pair & 0xFFFF0000u); }

__device__ __forceinline__ u32 pack(float lo, float hi) {
    u32 r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

__device__ __forceinline__ float tanh_fast(float x) {  // relative error 2^-11, an eighth of bfloat16's
    float r;
    asm("tanh.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

__device__ __forceinline__ float sigmoid(float x) { return fmaf(0.5f, tanh_fast(0.5f * x), 0.5f); }

// ---- what forward and backward share ----

// The stages in shared memory, and the barriers full and empty of each.
struct Ring {
    u32 base, full, empty;
    __device__ explicit Ring(u32 smem) : base(smem + RING_OFFSET), full(smem + BARRIER_OFFSET + 8), empty(full + 8 * STAGES) {}
};

struct Cursor {  // a place in the sequence of loads
    u32 stage = 0, phase = 0;
    __device__ __forceinline__ void advance(u32 loads = 1) {
        stage += loads;
        phase ^= stage / STAGES & 1;
        stage %= STAGES;
    }
};

constexpr int LOADS = CHUNKS * TILES;  // of a warpgroup's step

// The warpgroups' order at the ring. A warpgroup that waited for its loads out of turn could take a stage's earlier
// round for its own: barriers tell rounds apart by parity alone.
struct Turn {
    int warpgroup;
    bool alone;
    __device__ __forceinline__ void take(bool first) const {
        if (!alone && !(first && warpgroup == 0)) asm volatile("bar.sync %0, 256;" ::"r"(3 + warpgroup) : "memory");
    }
    __device__ __forceinline__ void pass(bool last) const {
        if (!alone && !(last && warpgroup == 1)) asm volatile("bar.arrive %0, 256;" ::"r"(4 - warpgroup) : "memory");
    }
};

// Lanes of a warpgroup: slot s = warpgroup * (batch groups) + (batch group) has lanes [first, first + 64 TILES).
struct Slot {
    int index, first;
    bool idle;
    __device__ Slot(int warpgroup, int lane0, int lane_end) {
        index = warpgroup * gridDim.y + blockIdx.y;
        first = lane0 + index * 64 * TILES;
        idle = first >= lane_end;
    }
};

// Set up the barriers. A stage is free when all warps of a turn, in all blocks that share its loads, have read it.
__device__ __forceinline__ void set_up(u32 smem) {
    if (threadIdx.x == 0) {
        barrier_init(smem + BARRIER_OFFSET, 1);
        const Ring ring(smem);
        for (int s = 0; s < STAGES; ++s) {
            barrier_init(ring.full + 8 * s, 1);
            barrier_init(ring.empty + 8 * s, 4 * CLUSTER);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    cluster_sync();
}

__device__ __forceinline__ void load_weight_slice(u32 smem, const TensorMap* map, int column, int row) {
    const u32 barrier = smem + BARRIER_OFFSET;
    barrier_expect(barrier, CHUNKS * W_CHUNK_BYTES);
    for (int c = 0; c < CHUNKS; ++c) load_weights(smem + c * W_CHUNK_BYTES, map, barrier, column + 64 * c, row);
}

// Load one step of a slot, (64 TILES lanes x H) at (column, lane, time), 64 x 64 a stage. Each block of a cluster loads
// its part of the rows for all of them. Clusters start at different chunks, so as not to ask for the same lines at once.
__device__ __forceinline__ void load_step(const Ring& ring, const TensorMap* map, Cursor& cursor, int first_chunk, int3 at) {
    constexpr int ROWS = 64 / CLUSTER;
    const u32 first_row = cluster_rank() * ROWS;
    int chunk = first_chunk;
    for (int i = 0; i < CHUNKS; ++i) {
        for (int m = 0; m < TILES; ++m) {
            barrier_wait(ring.empty + 8 * cursor.stage, cursor.phase ^ 1);
            const u32 full = ring.full + 8 * cursor.stage;
            barrier_expect(full, STAGE_BYTES);
            load_tile(ring.base + cursor.stage * STAGE_BYTES + first_row * 128, map, full,
                      make_int3(at.x + 64 * chunk, at.y + 64 * m + first_row, at.z));
            cursor.advance();
        }
        chunk = chunk + 1 == CHUNKS ? 0 : chunk + 1;
    }
}

// acc += (the ring's next 64 TILES lanes x H) times (the weight slice) transposed.
__device__ __forceinline__ void multiply(float (&acc)[TILES][FRAGMENT], u32 weights, const Ring& ring, Cursor& cursor,
                                         int first_chunk) {
    const u32 lane = threadIdx.x & 31;
    const u32 tiles = descriptor_low(ring.base), slice = descriptor_low(weights);
    int chunk = first_chunk;
    u32 previous = 0;
#pragma unroll 1
    for (int i = 0; i < CHUNKS; ++i) {
#pragma unroll
        for (int m = 0; m < TILES; ++m) {
            const u32 a = tiles + cursor.stage * (STAGE_BYTES / 16), b = slice + chunk * (W_CHUNK_BYTES / 16);
            barrier_wait(ring.full + 8 * cursor.stage, cursor.phase);
            asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                multiply_add(acc[m], descriptor(a + 2 * k), descriptor(b + 2 * k));
            }
            asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 1;" ::: "memory");
            if (i + m > 0 && lane < CLUSTER) barrier_arrive_at(ring.empty + 8 * previous, lane);
            previous = cursor.stage;
            cursor.advance();
        }
        chunk = chunk + 1 == CHUNKS ? 0 : chunk + 1;
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    if (lane < CLUSTER) barrier_arrive_at(ring.empty + 8 * previous, lane);
}
