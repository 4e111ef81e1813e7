"""Settings of the site: `make docs` builds it from the Markdown of this folder, the docstrings and the examples."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import inventories  # noqa: E402
import site_pages  # noqa: E402
from sphinx_gallery.sorting import FileNameSortKey  # noqa: E402  # pyright: ignore[reportMissingImports], of the extra docs

import gaussmix  # noqa: E402

project = "gaussmix"
author = "The gaussmix authors"
copyright = "The gaussmix authors, MIT licence"
version = release = gaussmix.__version__
language = "en"

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.intersphinx"]
extensions += ["sphinx_design", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_site", "generated/gallery/*.ipynb", "generated/gallery/*.zip", "generated/gallery/*.py"]
default_role = "py:obj"
suppress_warnings = ["config.cache"]  # sphinx-gallery's settings hold functions

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_typehints = "none"  # numpydoc's parameters say it
autodoc_member_order = "bysource"
toc_object_entries = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # words that are in neither list
numpydoc_xref_aliases = inventories.NAMES | site_pages.own_names()
intersphinx_mapping = inventories.write(site_pages.GENERATED / "inventories")

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["generated/gallery"],
    "filename_pattern": r"/plot_",
    "within_subsection_order": FileNameSortKey,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib",),
    "matplotlib_animations": False,
    "abort_on_example_error": True,
    "min_reported_time": 1e9,
    "copyfile_regex": r".*\.png",
}

html_theme = "pydata_sphinx_theme"
html_title = "gaussmix"
html_static_path = ["_static"]
html_css_files = ["gaussmix.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {name: [] for name in ("index", "start", "choose")}
html_theme_options = {
    "logo": {"text": "gaussmix"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "show_toc_level": 2,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def setup(app):
    """Write the pages that are made from the package, and let links of GitHub lead somewhere here."""
    app.connect("builder-inited", site_pages.write_pages, priority=100)
    app.connect("source-read", site_pages.redirect_links)
    app.connect("autodoc-skip-member", lambda app, what, name, *rest: name.endswith("_request") or None)
