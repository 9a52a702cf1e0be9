"""Compares our TFLite models with the same networks built natively in Keras.

For each network and precision, two files are made: one by torch → ONNX → SavedModel → TFLite, as
a pipeline does it, and one by TensorFlow's own converter from a Keras model with the same weights.
Both run in the same process, in turns, on one thread. The bar: the int8 model's latency is at
most 1.1 times that of its twin.

    python benchmarks/conversion.py [--json] [--networks mobilenet_v2:0.5 resnet18:0.25]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from torch import fx, nn

from edgepipe_stages import Interface, _zoo
from edgepipe_stages._onnx_export import export_onnx
from edgepipe_stages._tensorflow import import_tensorflow
from edgepipe_stages._tflite import Precision, convert_tflite, summarize

tf = import_tensorflow()
import tf_keras as keras  # noqa: E402  after import_tensorflow has chosen Keras 2

from edgepipe_stages._onnx_tf.convert import write_saved_model  # noqa: E402

BAR = 1.1
SIZE = 32


def main() -> int:
    """Exit code 1 where an int8 model misses the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["mobilenet_v2:0.5", "resnet18:0.25"])
    parser.add_argument("--rounds", type=int, default=40, help="turns of either model")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = digits()
    rows: list[dict[str, Any]] = []
    for network in arguments.networks:
        name, _, width = network.partition(":")
        module = make(name, float(width or 1), images)
        rows += [
            {"network": network, **compare(module, images, precision, arguments.rounds)}
            for precision in ("float32", "int8")
        ]
    if arguments.json:
        print(json.dumps({"bar_int8": BAR, "rows": rows}, indent=1))
    else:
        show(rows)
    return 0 if all(row["ratio"] <= BAR for row in rows if row["precision"] == "int8") else 1


def digits() -> NDArray[np.float32]:
    """scikit-learn's digits, N × H × W × 1, enlarged and normalized."""
    from sklearn.datasets import load_digits

    images = load_digits().images.astype(np.float32).repeat(SIZE // 8, 1).repeat(SIZE // 8, 2)
    return ((images / 16 - 0.3) / 0.35)[..., None]


def make(name: str, width: float, images: NDArray[np.float32]) -> nn.Module:
    """A network with random weights, and with the statistics that digits have in it."""
    torch.manual_seed(7)
    module = _zoo.create(name, classes=10, channels=1, width=width, unstrided=2)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        for batch in torch.from_numpy(images[:256].transpose(0, 3, 1, 2)).split(64):
            module.train()(batch)
    return module.eval()


def compare(
    module: nn.Module, images: NDArray[np.float32], precision: Precision, rounds: int
) -> dict[str, Any]:
    """Size, operators, difference to torch and latency of both models."""
    samples = images[:100]
    with tempfile.TemporaryDirectory() as folder:
        ours = pipeline(module, Path(folder) / "saved_model", precision, samples)
    twin = native(Twin(module).model, precision, samples)
    with torch.no_grad():
        reference = module(torch.from_numpy(images[200:264].transpose(0, 3, 1, 2))).numpy()
    result: dict[str, Any] = {"precision": precision}
    runners = {}
    for label, model in (("ours", ours), ("keras", twin)):
        summary = summarize(model)
        runners[label] = Runner(model)
        scores = np.stack([runners[label](image) for image in images[200:264]])
        result[label] = {
            "size_bytes": len(model),
            "operators": summary.operators.total(),
            "transposes": summary.operators["TRANSPOSE"],
            "float_tensors": len(summary.float_tensors),
            "largest_difference": float(np.abs(scores - reference).max()),
            "same_class": float((scores.argmax(1) == reference.argmax(1)).mean()),
        }
    times = in_turns(runners, images[0], rounds)
    for label, seconds in times.items():
        result[label] |= {"median_s": median(seconds), "minimum_s": min(seconds)}
    result["ratio"] = result["ours"]["minimum_s"] / result["keras"]["minimum_s"]
    result["ratio_of_medians"] = result["ours"]["median_s"] / result["keras"]["median_s"]
    return result


def pipeline(
    module: nn.Module, folder: Path, precision: Precision, samples: NDArray[np.float32]
) -> bytes:
    """A TFLite model by the stages of a pipeline."""
    classes = tuple(str(digit) for digit in range(10))
    interface = Interface(SIZE, SIZE, 1, (0.3,), (0.35,), classes)
    write_saved_model(export_onnx(module, interface, 14, dynamic_batch=True), folder, "nhwc")
    return convert_tflite(folder, precision, samples)


def native(model: Any, precision: Precision, samples: NDArray[np.float32]) -> bytes:
    """A TFLite model by TensorFlow's converter alone."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if precision == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


class Runner:
    """A TFLite model on one thread."""

    def __init__(self, model: bytes) -> None:
        self.interpreter = Interpreter(model_content=model, num_threads=1)
        self.interpreter.allocate_tensors()
        [self.input] = self.interpreter.get_input_details()
        [self.output] = self.interpreter.get_output_details()

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        self.load(image)
        self.interpreter.invoke()
        scores = self.interpreter.get_tensor(self.output["index"])[0]
        scale, zero_point = self.output["quantization"]
        return (scores.astype(np.float32) - zero_point) * scale if scale else scores

    def load(self, image: NDArray[np.float32]) -> None:
        scale, zero_point = self.input["quantization"]
        if scale:
            image = np.clip(np.rint(image / scale) + zero_point, -128, 127).astype(np.int8)
        self.interpreter.set_tensor(self.input["index"], image[None])


def in_turns(
    runners: dict[str, Runner], image: NDArray[np.float32], rounds: int
) -> dict[str, list[float]]:
    """Seconds a call, in blocks of ten that take turns: a busy neighbour meets both alike."""
    times: dict[str, list[float]] = {label: [] for label in runners}
    for runner in runners.values():
        runner.load(image)
        for _ in range(20):
            runner.interpreter.invoke()
    for turn in range(rounds):
        for label in sorted(runners, reverse=bool(turn % 2)):
            invoke = runners[label].interpreter.invoke
            for _ in range(10):
                start = perf_counter()
                invoke()
                times[label].append(perf_counter() - start)
    return times


class Twin(fx.Interpreter):
    """Builds a Keras model with the layers and weights of a torch module, channels last."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(fx.symbolic_trace(module))
        image = keras.Input((SIZE, SIZE, 1), 1)
        self.model = keras.Model(image, self.run(image, enable_io_processing=False))

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        return layer(self.fetch_attr(target), args[0])

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        name = target.__name__
        if name in ("add", "iadd"):
            return keras.layers.Add()(list(args))
        if name == "mul":
            return keras.layers.Multiply()(list(args))
        if name in ("relu", "relu6"):
            return keras.layers.ReLU(6.0 if name == "relu6" else None)(args[0])
        if name == "flatten":
            return keras.layers.Flatten()(args[0])
        if name == "adaptive_avg_pool2d":
            return keras.layers.GlobalAveragePooling2D(keepdims=True)(args[0])
        if name == "cat":
            return keras.layers.Concatenate()(args[0])
        raise NotImplementedError(f"no Keras twin of the function {name}")

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target == "mean":
            return keras.layers.GlobalAveragePooling2D()(args[0])
        if target == "flatten":
            return keras.layers.Flatten()(args[0])
        raise NotImplementedError(f"no Keras twin of the method {target}")


def layer(module: nn.Module, x: Any) -> Any:
    """The Keras layer that does what a torch layer does, applied to ``x``."""
    if isinstance(module, nn.Conv2d):
        return convolution(module, x)
    if isinstance(module, nn.BatchNorm2d):
        norm = keras.layers.BatchNormalization(epsilon=module.eps)
        y = norm(x)
        values = (module.weight, module.bias, module.running_mean, module.running_var)
        norm.set_weights([array(value) for value in values])
        return y
    if isinstance(module, nn.Linear):
        dense = keras.layers.Dense(module.out_features)
        y = dense(x)
        dense.set_weights([array(module.weight).T, array(module.bias)])
        return y
    if isinstance(module, nn.ReLU6 | nn.ReLU):
        return keras.layers.ReLU(6.0 if isinstance(module, nn.ReLU6) else None)(x)
    if isinstance(module, nn.Hardswish):
        return x * (tf.nn.relu6(x + 3.0) * (1 / 6))
    if isinstance(module, nn.Hardsigmoid):
        return tf.nn.relu6(x + 3.0) * (1 / 6)
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    if isinstance(module, nn.MaxPool2d):
        pads = int(module.padding)
        x = keras.layers.ZeroPadding2D(pads)(x) if pads else x
        return keras.layers.MaxPooling2D(module.kernel_size, module.stride)(x)
    if isinstance(module, nn.Flatten):
        return keras.layers.Flatten()(x)
    if isinstance(module, nn.Identity | nn.Dropout):
        return x
    raise NotImplementedError(f"no Keras twin of {type(module).__name__}")


def convolution(module: nn.Conv2d, x: Any) -> Any:
    """A convolution; TensorFlow pads on the other side than torch where it has a stride."""
    stride, pad = module.stride[0], int(module.padding[0])
    if pad and stride > 1:
        x = keras.layers.ZeroPadding2D(pad)(x)
    options: dict[str, Any] = {
        "strides": stride,
        "padding": "same" if pad and stride == 1 else "valid",
        "use_bias": module.bias is not None,
    }
    weight = array(module.weight).transpose(2, 3, 1, 0)
    if module.groups == module.in_channels > 1:
        made = keras.layers.DepthwiseConv2D(module.kernel_size, **options)
        weight = weight.transpose(0, 1, 3, 2)
    else:
        made = keras.layers.Conv2D(module.out_channels, module.kernel_size, **options)
    y = made(x)
    made.set_weights([weight] + ([] if module.bias is None else [array(module.bias)]))
    return y


def array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """A parameter as Keras takes it."""
    values: NDArray[np.float32] = tensor.detach().numpy()
    return values


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table; the ratio is that of the minima."""
    print(f"{'':>30}  {'ours':>36}  {'native Keras':>36}")
    head = "kB operators transposes   median µs minimum µs"
    print(f"{'network':<20}{'precision':>10}  {head}  {head}  ratio")
    for row in rows:
        cells = "  ".join(
            f"{m['size_bytes'] / 1e3:>6.0f} {m['operators']:>6} {m['transposes']:>8}"
            f" {m['median_s'] * 1e6:>11.0f} {m['minimum_s'] * 1e6:>10.0f}"
            for m in (row["ours"], row["keras"])
        )
        print(f"{row['network']:<20}{row['precision']:>10}  {cells}  {row['ratio']:.3f}")


if __name__ == "__main__":
    sys.exit(main())
