"""Int8 sums that do not fit: x86 processors before VNNI add two products of 8 bits in 16 bits.

The instruction is VPMADDUBSW. An unsigned activation times a weight of 8 bits, twice, comes to
up to 64,770; 32,767 is the most that it keeps. Weights of 7 bits always fit.
"""

from __future__ import annotations

from pathlib import Path

SEVEN_BITS = 64
"""The largest magnitude of a weight with ``reduce_range``."""


def saturates(model: Path, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor may cut off sums of an ONNX model (its artifact's folder)."""
    return (model / "model.onnx").is_file() and not _has_vnni(cpuinfo) and _eight_bits(model)


def _has_vnni(cpuinfo: Path) -> bool:
    """Also true of processors that are not x86: their instructions add in 32 bits."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return True
    flags = next((line.split() for line in lines if line.startswith("flags")), None)
    return flags is None or not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags)


def _eight_bits(model: Path) -> bool:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    from edgepipe_stages._graph import onnx_file

    return any(
        np.abs(numpy_helper.to_array(tensor).astype(np.int16)).max(initial=0) > SEVEN_BITS
        for tensor in onnx_file.load(model / "model.onnx").graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    )
