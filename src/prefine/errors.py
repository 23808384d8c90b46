"""Every error that prefine raises on purpose.

::

    PrefineError
    ├── RecordError(ValueError)         a row, file or data set that cannot be understood
    │   ├── FormatError                 no reader, or more than one reader, fits the data
    │   ├── TooManyRejects              more rows were set aside than `max_rejects` allows
    │   └── HubDataError                a Hub data set could not be had
    │       ├── HubMissingError         there is no such data set, revision, config or split
    │       ├── HubGatedError           it exists, but this account has not been let in
    │       └── HubOfflineError         the Hub cannot be reached from here
    ├── ConfigError(ValueError)         an option, or a combination of options, makes no sense
    │   └── ObjectiveError              an objective does not fit the data, model or reference
    ├── StatisticError(ValueError)      numbers from which a statistic cannot be computed
    │   └── MissingMetric               a run did not keep a number that is asked for
    ├── TemplateError(ValueError)       a chat template breaks what training relies on
    ├── ReferenceMismatch(RuntimeError) the reference is not the policy where it must be
    ├── EngineError(RuntimeError)       a model cannot be scored in packed rows
    ├── BenchError(RuntimeError)        two sides that do not do the same work
    ├── LedgerError(RuntimeError)       an experiment that cannot be run or recorded
    ├── PushError(RuntimeError)         a model could not be uploaded
    ├── NonFiniteError(ArithmeticError) a number is not finite; names the step and the rows
    ├── RunFolderError(RuntimeError)    a run's folder is in use, not empty, or torn
    └── MissingExtraError(ImportError)  an optional library is absent; names the extra

A message says where, what, why it matters and what to do, in that order.
"""


class PrefineError(Exception):
    r"""Base of every deliberate error; its text can always be printed.

    Example:
        >>> str(PrefineError("unknown key `a\ud800`"))  # half a character, as JSON may hold it
        'unknown key `a\\ud800`'
    """

    def __str__(self) -> str:
        return super().__str__().encode("utf-8", "backslashreplace").decode()


class RecordError(PrefineError, ValueError):
    """A row, file or data set that cannot be understood."""


class FormatError(RecordError):
    """No reader, or more than one reader, fits the data."""


class TooManyRejects(RecordError):
    """More rows were set aside than `max_rejects` allows."""


class HubDataError(RecordError):
    """A Hub data set could not be had."""


class HubMissingError(HubDataError):
    """There is no such data set, revision, config or split."""


class HubGatedError(HubDataError):
    """The data set exists, but this account has not been let in."""


class HubOfflineError(HubDataError):
    """The Hub cannot be reached from here."""


class ConfigError(PrefineError, ValueError):
    """An option, or a combination of options, makes no sense."""


class ObjectiveError(ConfigError):
    """An objective does not fit the data, the model or the reference."""


class StatisticError(PrefineError, ValueError):
    """Numbers from which a statistic cannot be computed."""


class MissingMetric(StatisticError):
    """A run did not keep a number that is asked for; the text names it."""


class TemplateError(PrefineError, ValueError):
    """A chat template breaks what training relies on."""


class ReferenceMismatch(PrefineError, RuntimeError):
    """The reference is not the policy where it must be (step 0)."""


class EngineError(PrefineError, RuntimeError):
    """A model cannot be scored in packed rows; says what stands in the way."""


class BenchError(PrefineError, RuntimeError):
    """A side of the benchmark failed, or both do not do the same work."""


class LedgerError(PrefineError, RuntimeError):
    """An experiment of the ledger cannot be run, or its result cannot be recorded."""


class PushError(PrefineError, RuntimeError):
    """A model could not be uploaded; the message says what stands in the way."""


class NonFiniteError(PrefineError, ArithmeticError):
    """A number is not finite; the message names the step and the rows."""


class RunFolderError(PrefineError, RuntimeError):
    """A run's folder is in use, not empty, or torn."""


class MissingExtraError(PrefineError, ImportError):
    """An optional library is absent; the message names the extra that brings it."""
