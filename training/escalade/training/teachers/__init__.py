"""The large model as training sees it: local, in the cloud, or a cache of what it said."""

from escalade.training.teachers.cache_writer import write_cache
from escalade.training.teachers.cloud_scorer import CloudScorer
from escalade.training.teachers.prediction_cache import CachedTeacher, cache_digest
from escalade.training.teachers.teacher import (
    CloudTeacher,
    HigherTiers,
    LocalTeacher,
    Teacher,
    check_tokenizers,
    model_inputs,
    targets_of,
    vocabulary_size,
)

__all__ = [
    "CachedTeacher",
    "CloudScorer",
    "CloudTeacher",
    "HigherTiers",
    "LocalTeacher",
    "Teacher",
    "cache_digest",
    "check_tokenizers",
    "model_inputs",
    "targets_of",
    "vocabulary_size",
    "write_cache",
]
