"""The laboratory's project: a pipeline that uses all stages, and the code and data of a user."""

from __future__ import annotations

PIPELINE = """\
edgepipe: 1
name: lab
include: shared.yaml
seed: 7

stages:
  digits: {uses: data.digits, with: {image_size: "${side}"}}
  photos: {uses: data.image_folder, with: {path: photos, image_size: 16}}
  made: {uses: data.python, with: {function: "mydata.py:make"}}
  shifted: {uses: vision.shift, in: {data: made}}
  teacher:
    uses: train.classifier
    in: {data: digits}
    with: {model: {arch: resnet8}, epochs: 2}
  student:
    uses: distill.logits
    in: {teacher: teacher, data: digits}
    with: {model: {arch: mobilenet_v2}, temperature: 4.0}
  pruned: {uses: prune.structured, in: {model: student, data: digits}, with: {ratio: 0.3}}
  sparse: {uses: prune.magnitude, in: {model: student, data: digits}}
  own: {uses: model.python, in: {data: photos}, with: {code: "nets.py:Small"}}
  loaded:
    uses: model.checkpoint
    in: {data: made}
    with: {model: {arch: "python:nets.py:Other"}, weights: weights.safetensors}
  onnx: {uses: convert.onnx, in: {model: pruned}}
  int8: {uses: quantize.static, in: {model: onnx, data: digits}}
  dynamic: {uses: quantize.dynamic, in: {model: onnx}}
  saved: {uses: convert.savedmodel, in: {model: onnx}}
  tflite:
    uses: convert.tflite
    in: {model: saved, calibration: int8}
    matrix: {precision: [float32, int8]}
  parity: {uses: check.parity, in: {reference: pruned, model: onnx, data: digits}}
  bench_torch: {uses: benchmark.torch, in: {model: own, data: photos}}
  bench_onnx: {uses: benchmark.onnxruntime, in: {model: dynamic, data: digits}}
  bench_tflite: {uses: benchmark.tflite, in: {model: tflite, data: digits}}
"""

FILES = {
    "edgepipe.toml": "",
    "shared.yaml": "vars: {side: 16}\n",
    "mydata.py": (
        '"""Data."""\n\nimport numpy as np\n\nfrom helpers.draw import drawn\n\nCLASSES = 3\n\n\n'
        'def make(seed):\n    """Make it."""\n    return drawn(CLASSES), np.arange(CLASSES)\n\n\n'
        "def unused():\n    return 1\n"
    ),
    "helpers/draw.py": (
        "from . import shapes\nfrom .colors import *\n\n\n"
        "def drawn(count):\n    return [shapes.circle(i, RED) for i in range(count)]\n"
    ),
    "helpers/shapes.py": (
        "SIZE = 4\n\n\ndef circle(number, color, size=SIZE):\n    return [number, color, size]\n\n\n"
        "def square(number):\n    return number\n"
    ),
    "helpers/colors.py": "RED = 1\nBLUE = 2\n",
    "helpers/other.py": "NOTHING = 0\n",
    "nets.py": (
        "import torch\n\nfrom helpers import layers\n\n\n"
        "class Small(torch.nn.Module):\n    def forward(self, x):\n        return layers.flat(x)\n\n\n"
        "class Other(torch.nn.Module):\n    def forward(self, x):\n        return x\n"
    ),
    "helpers/layers.py": (
        "def flat(x):\n    return x\n\n\nif __name__ == '__main__':\n    print(flat(1))\n"
    ),
    "weights.safetensors": "weights",
    "photos/cat/1.png": "cat one",
    "photos/cat/2.png": "cat two",
    "photos/dog/1.png": "dog one",
    "plugins/vision/shift.py": (
        '"""vision.shift: moves images."""\n\nfrom __future__ import annotations\n\n'
        "from typing import TYPE_CHECKING\n\nfrom _tables import table\n\n"
        "from edgepipe.stage import Context, Field, Stage\nfrom edgepipe_stages import ImageDataset\n\n"
        "if TYPE_CHECKING:\n    from _typing_only import Name\n\n\n"
        'class Shift(Stage):\n    """Moves images."""\n\n'
        "    inputs = {'data': ImageDataset}\n    outputs = {'data': ImageDataset}\n\n"
        "    by: int = Field(1, ge=0, le=9, description='pixels')\n\n"
        "    def run(self, ctx: Context) -> None:\n        table('left')\n"
    ),
    "plugins/vision/mirror.py": (
        '"""vision.mirror: mirrors images."""\n\nfrom edgepipe.stage import Context, Stage\n'
        "from edgepipe_stages import ImageDataset\n\n\n"
        'class Mirror(Stage):\n    """Mirrors images."""\n\n'
        "    inputs = {'data': ImageDataset}\n    outputs = {'data': ImageDataset}\n\n"
        "    def run(self, ctx: Context) -> None: ...\n"
    ),
    "plugins/_tables.py": (
        "import importlib\nimport json\nfrom pathlib import Path\n\n\n"
        "def table(name):\n    steps = json.loads(Path(__file__).with_name('_steps.json').read_text())\n"
        "    return importlib.import_module(f'_steps.{name}').move(steps)\n"
    ),
    "plugins/_steps.json": "[1, 2, 3]",
    "plugins/_other.json": "[]",
    "plugins/_steps/left.py": "def move(steps):\n    return steps\n",
    "plugins/_typing_only.py": "Name = str\n",
}
