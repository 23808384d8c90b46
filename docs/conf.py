"""How these pages are built: `make docs`. Nothing is fetched while building."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import prefine

project = "prefine"
author = "The prefine engineers"
copyright = "2026, The prefine engineers"
release = version = prefine.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "generated_pages",
    "mathml",
]
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [(name, "notes_style") for name in ("Source", "Curves", "Pitfalls")]
default_role = "code"

html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["prefine.css"]
html_title = "prefine"
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
