"""What a conversation is made of; knows no template and no model."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping

#: `role` (system, user or assistant) and `content`.
Message = Mapping[str, str]
#: The date that some templates write into the prompt.
Now = Callable[[], datetime.datetime]
