"""`escalade calibrate`: thresholds of an artifact, or of a cascade's gates."""

from escalade.cli.verbs.calibrate.calibrate import calibrate

__all__ = ["calibrate"]
