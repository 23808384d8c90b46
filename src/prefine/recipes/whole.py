"""The model of a round, as the next round can start from it."""

from pathlib import Path

from prefine.models.export import export_model
from prefine.models.folder import ModelFolder


def whole_model(run: Path, out: Path) -> str:
    """Return the folder of a run's model; of adapters, a folder with them merged into their base.

    Adapters name the model that they were trained on by its name. Of adapters on adapters that is
    the first model of all, and what the rounds between had learnt would be lost.

    Args:
        run: Folder of a finished run.
        out: Where a merged model goes.
    """
    found = ModelFolder.read(str(run))
    if not found.is_adapter:
        return str(found.path)
    export_model(str(run), out, merge=True)
    return str(out)
