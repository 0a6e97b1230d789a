"""The study of cascade-aware training on the bundled tasks; see `__main__`."""
