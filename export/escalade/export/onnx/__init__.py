"""ONNX programs: what a torch model is made of, and the graph written from it."""
