"""Sphinx's settings. `sphinx-build -W docs docs/_build/html` builds the site."""

import importlib
import inspect
import json
import os
import re
import shutil
from pathlib import Path

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.util.inspect import stringify_signature

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_cmm
from keras_cmm.clip import known_presets

DOCS = Path(__file__).parent
NOTEBOOKS = DOCS.parent / "examples" / "notebooks"

project = "keras-cmm"
author = "the keras-cmm contributors"
copyright = "the keras-cmm contributors"
version = release = keras_cmm.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
]
smartquotes_action = "qe"  # "--" begins an option; it is no dash.
exclude_patterns = ["_build", "figure.md"]

# === Pages ===
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
# The outputs are in the files; `examples/make_notebooks.py` runs them.
nb_execution_mode = "off"
# Output of commands and examples is not to be copied with them.
copybutton_prompt_text = ">>> "
copybutton_exclude = ".linenos, .gp, .go"

# === API ===
# Docstrings say the types and shapes, so signatures stay short.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
# Keras's own docstrings are Markdown of another style.
autodoc_inherit_docstrings = False
napoleon_custom_sections = ["Input shape", "Output shape", ("Call arguments", "params_style")]
napoleon_use_ivar = True
napoleon_use_rtype = False
# Docstrings and help texts write code as Markdown does.
default_role = "code"
# References to this project must lead somewhere. Those to other projects are plain text, because
# the site is built offline.
nitpicky = True
nitpick_ignore = [("py:class", "keras_cmm.evaluation.runner.Data")]  # a type variable
nitpick_ignore_regex = [(r"py:.*", r"(?!keras_cmm).*")]

# === Look ===
html_theme = "pydata_sphinx_theme"
html_title = "keras-cmm"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
html_context = {"default_mode": "auto"}
# Pages without sub-pages need no navigation of their section.
html_sidebars = {"*": []}
html_theme_options = {
    "github_url": "https://github.com/keras-cmm/keras-cmm",
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "secondary_sidebar_items": ["page-toc"],
}

PUBLIC_PACKAGES = (
    "layers",
    "losses",
    "recipes",
    "models",
    "clip",
    "data",
    "methods",
    "evaluation",
    "report",
)


def public_names() -> dict[str, str]:
    """Returns the full name of each public class and function, by its own name."""
    names = {"InputError": "keras_cmm.InputError"}
    for package in PUBLIC_PACKAGES:
        module = importlib.import_module(f"keras_cmm.{package}")
        for name in module.__all__:
            if callable(getattr(module, name)):
                names.setdefault(name, f"keras_cmm.{package}.{name}")
    return names


PUBLIC_NAMES = public_names()


def from_markdown(app, what, name, obj, options, lines):
    """Turns Markdown's lists and links into reStructuredText's, and names into references."""
    text = re.sub(r"(?m)^( *(?!- )\S.*\n)(?= *- )", r"\1\n", "\n".join(lines))
    text = re.sub(r"\[([^\]\[]+)\]\(\s*(https?://[^)]+)\)", r"`\1 <\2>`__", text)

    def reference(match):
        full_name = PUBLIC_NAMES.get(match[1].removeprefix("keras_cmm.").rpartition(".")[2])
        is_itself = full_name is None or name.startswith(full_name)
        # `fit` of a class is no method of a package.
        if is_itself or not full_name.endswith(match[1].removeprefix("keras_cmm")):
            return match[0]
        return f":py:obj:`{match[1]} <{full_name}>`"

    lines[:] = re.sub(r"(?<![`:\w])`([\w.]+)`(?![`_])", reference, text).split("\n")


def signature_of_init(app, what, name, obj, options, signature, return_annotation):
    """Returns the arguments of a Keras class, which Keras hides behind a `__new__` of its own."""
    if what == "class" and signature == "(*args, **kwargs)":
        parameters = list(inspect.signature(obj.__init__).parameters.values())[1:]
        arguments = stringify_signature(inspect.Signature(parameters), show_annotation=False)
        return arguments, return_annotation
    return None


def dashes_of_parameters(app, doctree):
    """Writes a dash after the name of a parameter, since `smartquotes_action` makes none."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def math_as_mathml(translator, node):
    """Writes a formula as MathML, which browsers show without a script."""
    is_block = isinstance(node, nodes.math_block)
    translator.body.append(latex2mathml.tex2mathml(node.astext(), as_block=is_block))
    raise nodes.SkipNode


def copy_notebooks():
    """Copies the notebooks and writes the pages that list them.

    The first heading of a notebook is its title, and the paragraph below describes it.
    """
    folder = DOCS / "notebooks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    cards = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        shutil.copy(path, folder)
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        title, text = "".join(cells[0]["source"]).split("\n\n")[:2]
        cards[path.stem] = (
            f":::{{grid-item-card}} {title.removeprefix('# ')}\n:link: {path.stem}\n"
            f":link-type: doc\n\n{text}\n:::\n"
        )
    first_steps = ["quickstart", "own_images", "own_functional_model", "ablation"]
    shifts = [name for name in cards if re.match("imagenet.", name)]
    others = [name for name in cards if name not in first_steps + shifts]
    page = (DOCS / "notebooks.md.in").read_text(encoding="utf-8")
    for key, names in (("FIRST", first_steps), ("BENCHMARKS", others), ("SHIFTS", shifts)):
        grid = "".join(cards[name] for name in names)
        toctree = "\n".join(names)
        page = page.replace(
            f"@{key}@",
            f"::::{{grid}} 1 1 2 2\n:gutter: 3\n\n{grid}::::\n\n"
            f"```{{toctree}}\n:hidden:\n\n{toctree}\n```",
        )
    (folder / "index.md").write_text(page, encoding="utf-8")


copy_notebooks()


PRESET_HEADINGS = {
    "bundled": "In this package",
    "keras-hub": "Presets of keras-hub",
    "transformers": "Models of transformers on the Hugging Face hub",
    "OpenCLIP": "Models of OpenCLIP on the Hugging Face hub",
}
PRESET_COLUMNS = (
    "| name | millions of parameters | pixels | dim | ImageNet | licence | good for |",
    "| --- | ---: | ---: | ---: | ---: | --- | --- |",
)


def write_presets():
    """Writes the table of `keras-cmm presets`, which encoders.md includes."""
    lines = []
    source = None
    for preset in known_presets():
        if preset.source != source:
            source = preset.source
            lines += ["", f"### {PRESET_HEADINGS[source]}", "", *PRESET_COLUMNS]
        parameters = preset.parameters_millions
        cells = (
            f"`{preset.name}`",
            "" if parameters is None else f"{parameters:,.0f}",
            str(preset.image_size),
            str(preset.embedding_dim or ""),
            f"[{preset.imagenet_top1}]({preset.imagenet_source})" if preset.imagenet_top1 else "",
            preset.licence,
            preset.good_for,
        )
        lines.append(f"| {' | '.join(cells)} |")
    (DOCS / "_build").mkdir(exist_ok=True)
    (DOCS / "_build" / "presets.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


write_presets()


def setup(app):
    """Registers the functions above."""
    app.connect("autodoc-process-docstring", from_markdown)
    app.connect("autodoc-process-signature", signature_of_init)
    app.connect("doctree-read", dashes_of_parameters)
    app.add_html_math_renderer("mathml", (math_as_mathml, None), (math_as_mathml, None))
