"""What a process of ours owes its terminal and its neighbours; knows no verb, no part."""

from escalade.cli.process.quiet import quiet_third_party
from escalade.cli.process.signals import EndedError, unwind_on_signals
from escalade.cli.process.streams import is_reader_gone, prepare_streams
from escalade.cli.process.waiting import wait_briefly

__all__ = [
    "EndedError",
    "is_reader_gone",
    "prepare_streams",
    "quiet_third_party",
    "unwind_on_signals",
    "wait_briefly",
]
