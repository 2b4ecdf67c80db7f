"""One of our graphs, opened by onnxruntime."""

import os
from pathlib import Path
from typing import Any

from opendet.annotators.onnx_session import one_line, runtime_errors


def open_graph(path: Path, device: str) -> Any:
    """A session on the GPU or the CPU, as `device` says: `auto`, `cpu` or `cuda`.

    Raises ValueError, in one line, where onnxruntime is missing, sees no such GPU, or cannot read
    the file.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise ValueError("onnxruntime is missing: pip install onnxruntime") from error
    on_gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device.startswith("cuda") and not on_gpu:
        raise ValueError(
            f"device {device}: onnxruntime sees no GPU: install onnxruntime-gpu, or take cpu"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: all cores
    wanted = ["CUDAExecutionProvider"] if on_gpu and device != "cpu" else []
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=[*wanted, "CPUExecutionProvider"]
        )
    except runtime_errors() as error:
        raise ValueError(f"{path} cannot be loaded: {one_line(error)}") from error
