"""Recorded queries over networks, whatever the thresholds; knows no replay."""

from escalade.simulator.replay.course.course import Course
from escalade.simulator.replay.course.crossed import Crossed, linked_of
from escalade.simulator.replay.course.recording import Counts

__all__ = ["Counts", "Course", "Crossed", "linked_of"]
