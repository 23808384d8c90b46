"""Where a command may write."""

from pathlib import Path

from prefine.errors import ConfigError


def refuse_itself(source: str, out: Path) -> None:
    """Refuse to write a file over the data that it is made from.

    Raises:
        ConfigError: If both are one file.
    """
    if Path(source).resolve() == out.resolve():
        raise ConfigError(
            f"{out} is the data itself, which would be lost: what is set aside is not written. "
            "Name another file."
        )
