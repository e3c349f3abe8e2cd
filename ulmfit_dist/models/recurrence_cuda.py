"""Compile, plan and launch the recurrent kernels of recurrence*.cu; `recurrence` is the module others call."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

_Kernel = Literal["forward", "backward"]

_TILE = 64  # lanes of one matrix instruction
_LARGEST_PLAIN = 1024  # hidden units that 64 blocks of 16 cover
_LARGEST = 1152  # 64 blocks of 18; more does not fit in shared memory
_THREADS = 384
_WARPGROUPS = 2  # consumers in a block: each runs its own lanes
_SHARED_LIMIT = 227 * 1024
_COUNTER_STRIDE = 32  # counters on cache lines of their own
_CLUSTER = 2  # blocks that share loads; of clusters of 4 an H100 holds 30, which leaves no room for two batch groups
_HOPPER = (9, 0)


class Plan(NamedTuple):
    """How a call is cut: `groups` batch groups, each of two warpgroups with `tiles` x 64 lanes, all in one launch."""

    hidden: int
    tiles: int
    groups: int

    @property
    def slots(self) -> int:
        """The independent recurrences of one launch."""
        return _WARPGROUPS * self.groups

    @property
    def lanes(self) -> int:
        """The most lanes of one launch."""
        return _TILE * self.tiles * self.slots


def available(device: torch.device, hidden: int) -> bool:
    """Whether the kernels run there: a Hopper GPU, cuda-bindings (torch's Linux wheels bring it), a size that fits."""
    fits = hidden % _TILE == 0 and 0 < hidden <= _LARGEST and (hidden <= _LARGEST_PLAIN or hidden == _LARGEST)
    return (
        fits
        and device.type == "cuda"
        and torch.version.cuda is not None
        and torch.cuda.get_device_capability(device) == _HOPPER
        and _bindings_found()
        and _most_groups(device, hidden) > 0
    )


def run_forward(gates: Tensor, weight_hh: Tensor, hidden: Tensor, cells: Tensor, cell: Tensor) -> None:
    """Run all steps forward, in place.

    Args: gates bf16 (T, B, 4H) in `gate_order`, in: the input's share with biases, out: activated; weight_hh bf16
    (4H, H) in torch's order; hidden and cells bf16 (T+1, B, H) whose first row is the initial state, the others are
    written; cell float32 (1, B, H), the cell state before and after.
    """
    slices = weight_hh.index_select(0, _forward_rows(weight_hh.shape[1], gates.device))
    _launch("forward", slices, hidden, [gates, hidden, cells, cell])


def run_backward(gates: Tensor, weight_hh: Tensor, cells: Tensor, dout: Tensor, dgates: Tensor) -> None:
    """Run all steps backward.

    Args: gates and cells as `run_forward` left them; dout bf16 (T, B, H) contiguous, the outputs' gradient; dgates bf16
    (T, B, 4H), written: the gradient of the gates before activation, in `gate_order`.
    """
    size, device = weight_hh.shape[1], gates.device
    slices = weight_hh[gate_order(size, device)[None], _backward_units(size, device)[:, None]]
    # Sums of the four quarters of the product, exchanged through L2: float32, one a lane, unit and quarter.
    partials = gates.new_empty(_plan(device, size, gates.shape[1]).lanes * size * 4, dtype=torch.float32)
    _launch("backward", slices, dgates, [gates, cells, dout, dgates, partials])


@functools.cache
def gate_order(hidden: int, device: torch.device) -> Tensor:
    """Return int64 (4H): which row of torch's weights is where in the kernels' gates (recurrence.cu, Layouts)."""
    blocks = _column_blocks(hidden)
    rows = []
    for place in range(4 * hidden):
        block, column = divmod(place, 64)
        gate, unit = column % 16 // 4, 16 * block + 4 * (column // 16) + column % 4
        if block >= blocks:  # the extra units, four gates each
            gate, unit = place % 4, 16 * blocks + (place - 64 * blocks) // 4
        rows.append(gate * hidden + unit)
    return torch.tensor(rows, device=device)


@functools.cache
def gate_place(hidden: int, device: torch.device) -> Tensor:
    """Return the inverse of `gate_order`: where in the kernels' gates each row of torch's weights is."""
    return gate_order(hidden, device).argsort()


def _launch(kernel: _Kernel, slices: Tensor, exchanged: Tensor, arguments: list[Tensor]) -> None:
    device, (steps, lanes) = exchanged.device, arguments[0].shape[:2]
    plan = _plan(device, min(slices.shape), lanes)
    columns = _column_blocks(plan.hidden)
    function, shared = _function(device, plan, kernel)
    weight_map = _tensor_map(slices, (_TILE, _slice_width(plan.hidden)))
    exchanged_map = _tensor_map(exchanged, (_TILE, _TILE // _cluster(kernel, plan.hidden), 1))
    stream = torch.cuda.current_stream(device).cuda_stream
    for first in range(0, lanes, plan.lanes):
        counters = torch.zeros(plan.slots * (1 + columns // 4) * _COUNTER_STRIDE, dtype=torch.int32, device=device)
        pointers = [tensor.data_ptr() for tensor in [*arguments, counters]]
        numbers = [steps, lanes, first, min(lanes, first + plan.lanes)]
        types = [None, None, *[ctypes.c_void_p] * len(pointers), *[ctypes.c_int] * len(numbers)]
        parameters = ((weight_map, exchanged_map, *pointers, *numbers), tuple(types))
        grid, block = (columns, plan.groups, 1), (_THREADS, 1, 1)
        _checked(_driver().cuLaunchKernel(function, *grid, *block, shared, stream, parameters, 0))


def _plan(device: torch.device, hidden: int, lanes: int) -> Plan:
    """Spread the lanes over as many warpgroups as the GPU holds, one tile each if they suffice."""
    most, tiles_needed = _most_groups(device, hidden), math.ceil(lanes / _TILE)
    tiles = 1 if tiles_needed <= _WARPGROUPS * most else 2
    return Plan(hidden, tiles, min(most, math.ceil(tiles_needed / tiles)))


def _column_blocks(hidden: int) -> int:
    return min(hidden, _LARGEST_PLAIN) // 16


def _slice_width(hidden: int) -> int:
    return 4 * hidden // _column_blocks(hidden)


def _cluster(kernel: _Kernel, hidden: int) -> int:
    odd = _column_blocks(hidden) // 4 % _CLUSTER != 0  # backward, an odd number of column groups leaves no pairs
    return 1 if kernel == "backward" and odd else _CLUSTER


def _stages(hidden: int) -> int:
    return 8 if hidden > _LARGEST_PLAIN else 12  # of 8 KiB: what shared memory leaves beside the weights


@functools.cache
def _most_groups(device: torch.device, hidden: int) -> int:
    """Return how many batch groups are resident at once: a block that waits for one that is not would wait for ever."""
    kernels: tuple[_Kernel, ...] = ("forward", "backward")
    blocks = []
    for kernel in kernels:
        function, shared = _function(device, Plan(hidden, 1, 1), kernel)
        blocks.append(_resident_blocks(function, shared, _cluster(kernel, hidden)))
    return min(blocks) // _column_blocks(hidden)


def _resident_blocks(function: Any, shared: int, cluster: int) -> int:
    driver = _driver()
    config = driver.CUlaunchConfig()
    config.gridDimX, config.gridDimY, config.gridDimZ = cluster, 1, 1
    config.blockDimX, config.blockDimY, config.blockDimZ = _THREADS, 1, 1
    config.sharedMemBytes = shared
    value, attribute = driver.CUlaunchAttributeValue(), driver.CUlaunchAttribute()
    value.clusterDim.x, value.clusterDim.y, value.clusterDim.z = cluster, 1, 1
    attribute.id, attribute.value = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, value
    config.attrs, config.numAttrs = [attribute], 1
    return cluster * int(_checked(driver.cuOccupancyMaxActiveClusters(function, config)))


def _function(device: torch.device, plan: Plan, kernel: _Kernel) -> tuple[Any, int]:
    """Return the kernel and the bytes of shared memory it takes."""
    return _loaded(device, plan.hidden, plan.tiles, kernel)


@functools.cache
def _loaded(device: torch.device, hidden: int, tiles: int, kernel: _Kernel) -> tuple[Any, int]:
    driver = _driver()
    shared = hidden * _slice_width(hidden) * 2 + _stages(hidden) * (_TILE * 128 + 16) + 8
    assert shared <= _SHARED_LIMIT, shared
    with torch.cuda.device(device):
        torch.cuda.current_stream(device).synchronize()  # torch's context is current from here on
        module = _checked(driver.cuModuleLoadData(_compiled(hidden, tiles, kernel)))
        function = _checked(driver.cuModuleGetFunction(module, f"lstm_{kernel}".encode()))
        limit = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _checked(driver.cuFuncSetAttribute(function, limit, shared))
    return function, shared


@functools.cache
def _compiled(hidden: int, tiles: int, kernel: _Kernel) -> bytes:
    """Return the machine code for one size, compiled in half a second by NVRTC, which torch's Linux wheels bring."""
    nvrtc = importlib.import_module("cuda.bindings.nvrtc")
    sizes = {"HIDDEN": hidden, "TILES": tiles, "STAGES": _stages(hidden), "CLUSTER": _cluster(kernel, hidden)}
    options = [b"-arch=sm_90a", b"-std=c++17", *(f"-D{name}={value}".encode() for name, value in sizes.items())]
    parts = [Path(__file__).with_name(name) for name in ("recurrence.cu", f"recurrence_{kernel}.cu")]
    source = b"\n".join(part.read_bytes() for part in parts)
    program = _checked(nvrtc.nvrtcCreateProgram(source, parts[1].name.encode(), 0, [], []))
    result = nvrtc.nvrtcCompileProgram(program, len(options), options)[0]
    if int(result) != 0:
        log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
        nvrtc.nvrtcGetProgramLog(program, log)
        raise RuntimeError(f"{parts[1].name} does not compile: {log.decode()}")
    binary: bytes = b" " * _checked(nvrtc.nvrtcGetCUBINSize(program))
    _checked(nvrtc.nvrtcGetCUBIN(program, binary))
    return binary


def _tensor_map(tensor: Tensor, box: tuple[int, ...]) -> Any:
    """Describe a contiguous bf16 tensor to the copy engine; box innermost first, 64 wide: a row of its swizzle."""
    driver = _driver()
    sizes = [driver.cuuint64_t(size) for size in reversed(tensor.shape)]
    strides = [driver.cuuint64_t(stride * 2) for stride in reversed(tensor.stride()[:-1])]
    encoded = driver.cuTensorMapEncodeTiled(
        driver.CUtensorMapDataType.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        tensor.dim(),
        tensor.data_ptr(),
        sizes,
        strides,
        [driver.cuuint32_t(size) for size in box],
        [driver.cuuint32_t(1)] * tensor.dim(),
        driver.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
        driver.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B,
        driver.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
        driver.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    )
    return _checked(encoded)


@functools.cache
def _forward_rows(hidden: int, device: torch.device) -> Tensor:
    """Return the rows of weight_hh in the order of the forward blocks' slices (recurrence_forward.cu)."""
    blocks, rows = _column_blocks(hidden), []
    for block in range(blocks):
        for column in range(_slice_width(hidden)):
            part, quad, odd = column // 8, column % 8 // 2, column % 2
            gate, unit = part // 2, 16 * block + 4 * quad + 2 * (part % 2) + odd
            if part == 8:
                gate, unit = 2 * (quad % 2) + odd, 16 * blocks + 2 * block + quad // 2
            rows.append(gate * hidden + unit)
    return torch.tensor(rows, device=device)


@functools.cache
def _backward_units(hidden: int, device: torch.device) -> Tensor:
    """Return the hidden units in the order of the backward blocks' slices (recurrence_backward.cu)."""
    groups, units = _column_blocks(hidden) // 4, []
    for group in range(groups):
        for column in range(_slice_width(hidden)):
            part, quad, odd = column // 8, column % 8 // 2, column % 2
            main, extra = 64 * group + 16 * quad + 2 * part + odd, 64 * groups + 8 * group + column - 64
            units.append(main if part < 8 else extra)
    return torch.tensor(units, device=device)


@functools.cache
def _bindings_found() -> bool:
    try:
        return importlib.util.find_spec("cuda.bindings.nvrtc") is not None
    except ModuleNotFoundError:
        return False


def _driver() -> Any:
    return importlib.import_module("cuda.bindings.driver")


def _checked(returned: tuple[Any, ...]) -> Any:
    """Return the value of a call of the CUDA bindings, whose first item is the status."""
    status, *value = returned
    if int(status) != 0:
        raise RuntimeError(f"CUDA says {status!r}")
    return value[0] if value else None
