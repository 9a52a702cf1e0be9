"""The ML stages of edgepipe: one folder a family, one file a stage, heavy imports inside run().

Stage authors import the artifact types from here.
"""

from edgepipe_stages._artifacts import (
    Calibration,
    Dataset,
    ImageDataset,
    Interface,
    Model,
    OnnxModel,
    SavedModel,
    Split,
    TFLiteModel,
    TorchModel,
)

__all__ = [
    "Calibration",
    "Dataset",
    "ImageDataset",
    "Interface",
    "Model",
    "OnnxModel",
    "SavedModel",
    "Split",
    "TFLiteModel",
    "TorchModel",
]
