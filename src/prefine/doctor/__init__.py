"""What this machine can and lacks: libraries, extras, devices, settings, room on disk.

Nothing here may fail because a library is broken: that is what it is asked about.
"""

from prefine.doctor.checks import Check, State, failed
from prefine.doctor.examine import examine

__all__ = ["Check", "State", "examine", "failed"]
