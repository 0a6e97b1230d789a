"""The device in a browser beside the device in Python, on this machine."""
