"""The detector for runtimes without torch: written as ONNX graphs, and run by onnxruntime."""
