"""What a run counts, and keeps so that it can go on; knows no level and no walk."""

from escalade.training.online.record.checkpoint import (
    Arrays,
    Checkpoint,
    RungState,
    read_checkpoint,
    write_checkpoint,
)
from escalade.training.online.record.figures import (
    Agreement,
    Answer,
    Event,
    EventKind,
    Result,
    Tally,
    measured,
    new_tally,
)
from escalade.training.online.record.files import LineFile, run_folder
from escalade.training.online.record.journal import Entry, Journal
from escalade.training.online.record.telling import ANSWERS_NAME, EVENTS_NAME, Teller

__all__ = [
    "ANSWERS_NAME",
    "EVENTS_NAME",
    "Agreement",
    "Answer",
    "Arrays",
    "Checkpoint",
    "Entry",
    "Event",
    "EventKind",
    "Journal",
    "LineFile",
    "Result",
    "RungState",
    "Tally",
    "Teller",
    "measured",
    "new_tally",
    "read_checkpoint",
    "run_folder",
    "write_checkpoint",
]
