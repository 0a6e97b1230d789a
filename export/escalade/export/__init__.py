"""From a torch model to an artifact: traced, quantized, checked against torch."""
