"""The demo: a whole cascade across a simulated network, with real processes and sockets."""
