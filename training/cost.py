"""What an answer of a network costs: operations and time, of the graph that would ship."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import onnx

from specinfer.engine import Session
from specinfer.preprocess import N_CHANNELS
from training.architectures import Network, count_parameters
from training.architectures.fuse import fuse
from training.export import to_onnx

# Batch size and threads of onnxruntime of the two latencies.
ONE, MANY = (1, 1), (64, 2)
_FEWEST = 3
_OPERATIONS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Latency:
    """Warm calls of an exported network on the CPU.

    Attributes
    ----------
    batch, threads : int
    calls : int
        Calls that were timed.
    median, p5, p95 : float
        Milliseconds a call.
    """

    batch: int
    threads: int
    calls: int
    median: float
    p5: float
    p95: float


@dataclass(frozen=True)
class Cost:
    """Cost of a network.

    Attributes
    ----------
    parameters : int
    flops : int
        Floating-point operations a spectrum; see `count_flops`.
    onnx_bytes : int
    one, many : Latency
        One spectrum on one core; 64 spectra on two.
    """

    parameters: int
    flops: int
    onnx_bytes: int
    one: Latency
    many: Latency


def measure_cost(network: Network, seconds: float) -> Cost:
    """Export a network and measure it.

    Parameters
    ----------
    network : Network
    seconds : float
        For each of the two latencies.
    """
    model = to_onnx(fuse(network))
    content = model.SerializeToString()
    flops = count_flops(model)
    del model
    return Cost(
        parameters=count_parameters(network),
        flops=flops,
        onnx_bytes=len(content),
        one=measure_latency(content, network.config.n_pixels, *ONE, seconds),
        many=measure_latency(content, network.config.n_pixels, *MANY, seconds),
    )


def measure_latency(
    content: bytes, n_pixels: int, batch: int, threads: int, seconds: float
) -> Latency:
    """Time calls of an ONNX file for so many seconds, at least three, after two to warm up."""
    session = Session(content, name="network", device="cpu", threads=threads)
    rng = np.random.default_rng(0)
    inputs = {"spectrum": rng.normal(size=(batch, N_CHANNELS, n_pixels)).astype(np.float32)}
    taken: list[float] = []
    for _ in range(2):
        session.run(inputs)
    began = time.perf_counter()
    while len(taken) < _FEWEST or time.perf_counter() - began < seconds:
        started = time.perf_counter()
        session.run(inputs)
        taken.append(1e3 * (time.perf_counter() - started))
    p5, median, p95 = np.percentile(taken, [5, 50, 95])
    return Latency(batch, threads, len(taken), float(median), float(p5), float(p95))


def count_flops(model: onnx.ModelProto) -> int:
    """Floating-point operations of one spectrum: two for every multiply-add.

    Convolutions and matrix products are counted; what is done once when the file is loaded
    (products of constants) is not, nor are additions, activations and normalisations.

    Parameters
    ----------
    model : onnx.ModelProto
        With a free batch dimension in its inputs.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If a shape cannot be told.
    """
    one = onnx.ModelProto()
    one.CopyFrom(model)
    for value in one.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    # The outputs' free batch would not fit.
    for value in one.graph.output:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(one, data_prop=True).graph
    shapes = {item.name: tuple(item.dims) for item in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    constant = {item.name for item in graph.initializer}
    total = 0
    for node in graph.node:
        if all(name in constant for name in node.input):
            constant.update(node.output)
            continue
        if node.op_type not in _OPERATIONS:
            continue
        first, second, out = (shapes.get(n, ()) for n in (*node.input[:2], node.output[0]))
        if not first or not second or not out or 0 in (*first, *second, *out):
            raise ValueError(f"the shapes of {node.op_type} {node.output[0]!r} are not known")
        # One output of a convolution sums over channels and kernel; of a product, over the
        # inner dimension.
        if node.op_type == "Conv":
            inner = int(np.prod(second[1:]))
        else:
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            inner = second[-1 if transposed or len(second) == 1 else -2]
        total += 2 * inner * int(np.prod(out))
    return total
