"""The thresholds of all gates of a cascade, from a trace of it; knows no network."""
