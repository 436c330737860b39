"""What can go wrong, as a small tree; every message says what was wrong, the value found, and the fix.

OnelookError                exit code 2: the request cannot be carried out as asked
├── DataError               the labelled data cannot be used (no pictures, one class, a missing column ...)
├── BackboneError           unknown network, a network that cannot be split, weights that do not fit it
│   └── WeightsMissing      the weights are neither installed nor reachable; names ``--weights FILE``
├── HeadError               unknown head, unknown task, a head that reads what a look does not have
├── BudgetError             the time given is too short; says what it would take
├── DiskError               the disk is full or not writable; says what is kept
└── UnreadableError         exit code 3: an input file cannot be read
    ├── PictureError        one picture: corrupt, truncated, too large, not a picture
    └── ModelFileError      a model file: cut short, not ours, of another backbone
"""


class OnelookError(Exception):
    """A mistake that the user can mend; the message is one line and names the fix."""

    exit_code = 2


class DataError(OnelookError):
    """The labelled data cannot be used as they are."""


class BackboneError(OnelookError):
    """The backbone is unknown, cannot be split, or does not fit its weights."""


class WeightsMissing(BackboneError):
    """Pretrained weights are neither installed nor reachable."""


class HeadError(OnelookError):
    """A head is unknown or asks for something that a look does not have."""


class BudgetError(OnelookError):
    """The time given is too short for anything; says what it would take."""


class DiskError(OnelookError):
    """The disk is full or cannot be written; what was saved before is still there."""


class UnreadableError(OnelookError):
    """An input file cannot be read."""

    exit_code = 3


class PictureError(UnreadableError):
    """One picture cannot be read; the message names it."""


class ModelFileError(UnreadableError):
    """A model file cannot be read or belongs to another backbone."""
