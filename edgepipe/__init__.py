"""edgepipe: declarative pipelines that put neural networks on small devices."""

__version__ = "0.1.0"
