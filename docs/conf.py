"""How Sphinx builds the site; `make docs` runs it."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

import tomllib

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
# The owner's addresses, in [project.urls] of pyproject.toml. A missing one is left out.
URLS = PROJECT.get("urls", {})

project = "waterdrop_py"
author = "the waterdrop_py authors"
copyright = author
release = version = version_of("waterdrop-py")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "notfound.extension",
    "sphinxext.opengraph",
    "waterdrop_names",
    "waterdrop_tables",
    "waterdrop_llms",
]
exclude_patterns = ["_*", "pictures"]
source_suffix = {".md": "markdown"}
nitpicky = True

# Single backticks in docstrings are code, as on the pages.
default_role = "code"
highlight_language = "python"
pygments_style = "tango"
pygments_dark_style = "monokai"

myst_enable_extensions = ["attrs_inline", "attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.iref_ambiguous"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = False
napoleon_use_rtype = False

# Without a network: what a build needs lies in the repository.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", str(HERE / "_inventories/python.inv")),
    "confluent-kafka": (
        "https://docs.confluent.io/platform/current/clients/"
        "confluent-kafka-python/html",
        str(HERE / "_inventories/confluent-kafka.inv"),
    ),
}

html_theme = "furo"
html_title = f"waterdrop_py {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = True
html_show_sourcelink = False
html_baseurl = URLS.get("Documentation", "")
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b6e8a",
        "color-brand-content": "#0b6e8a",
    },
    "dark_css_variables": {
        "color-brand-primary": "#5cc8e6",
        "color-brand-content": "#5cc8e6",
    },
}
if "Source" in URLS:
    html_theme_options |= {
        "source_repository": URLS["Source"],
        "source_branch": "main",
        "source_directory": "docs/",
    }

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

ogp_site_url = html_baseurl
ogp_site_name = "waterdrop_py"
ogp_social_cards = {"enable": False}
ogp_enable_meta_description = True

# The 404 page is served at any depth, so its links start at the root.
notfound_urls_prefix = "/"
