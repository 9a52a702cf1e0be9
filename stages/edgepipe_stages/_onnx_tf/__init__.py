"""ONNX to TensorFlow by onnx-tf's handlers, laid out so that TensorFlow Lite needs no transposes."""
