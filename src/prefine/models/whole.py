"""A model that others can be trained from: adapters alone are none."""

from pathlib import Path

from prefine.models.export import export_model
from prefine.models.folder import ModelFolder


def whole_model(name: str, out: Path) -> str:
    """Return the folder of a model; of adapters, a folder with them merged into their base.

    Adapters name the model that they were trained on. Of adapters on adapters that would be the
    first model of all, and what the first adapters had learnt would be lost.

    Args:
        name: Folder of a model, or of a finished run.
        out: Where a merged model goes; what is there already is taken.
    """
    found = ModelFolder.read(name)
    if not found.is_adapter:
        return str(found.path)
    if not out.exists():
        export_model(name, out, merge=True)
    return str(out)
