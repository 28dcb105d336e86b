"""What can go wrong, in the types that say what to do next. Base layer: imports nothing of the package.

    AssistantCronError            reason: a CamelCase word for conditions; message: a line for a person
    ├── InvalidSpec               the author must change the resource
    │   ├── InvalidSchedule
    │   └── InvalidTimeZone
    ├── Denied                    policy: this resource may not call that address
    ├── InvalidSettings           the operator itself was started wrongly
    ├── Refused                   the deployment said no and would again: record it, do not repeat
    │   ├── NotFound              404: the thread, run or assistant is not there
    │   └── Conflict              409, or 422 "already running": somebody else has it
    └── Transient                 a passing cause, and surely nothing happened: try again
        └── Unclear               no answer, or an unreadable one: it may have happened, so look first

No message carries a response body, a credential or a URL's query.
"""


class AssistantCronError(Exception):
    """Root of the package's exceptions."""

    reason: str = "Error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason


class InvalidSpec(AssistantCronError, ValueError):
    """The resource's spec cannot be obeyed; `message` names the field and the mend."""

    reason = "InvalidSpec"


class InvalidSchedule(InvalidSpec):
    """A cron expression that is not understood, or that never comes."""

    reason = "InvalidSchedule"


class InvalidTimeZone(InvalidSpec):
    """Not the name of a zone in the IANA database."""

    reason = "InvalidTimeZone"


class Denied(AssistantCronError):
    """The operator's policy forbids this address."""

    reason = "HostNotAllowed"


class InvalidSettings(AssistantCronError):
    """An `ASSISTANTCRON_…` setting, or the cluster access, is unusable."""

    reason = "InvalidSettings"


class Refused(AssistantCronError):
    """An answer that repeating cannot change (400, 401, 403, 404, 409, 413, 422)."""

    reason = "Rejected"

    def __init__(self, message: str, *, reason: str | None = None, status: int = 0) -> None:
        super().__init__(message, reason=reason)
        self.status = status


class NotFound(Refused):
    """404."""


class Conflict(Refused):
    """409, or the 422 with which some servers say the same."""


class Transient(AssistantCronError):
    """Worth another try; `retry_after` is the wait in seconds that the server asked for, if it did."""

    reason = "DeploymentUnavailable"

    def __init__(self, message: str, *, reason: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class Unclear(Transient):
    """The request may have been carried out: the answer was lost, a server error, or unreadable."""
