"""The study of online cascade learning on the paper's streams; see `__main__`."""
