"""Makes the notebooks of examples/notebooks from the Markdown files in its folder `sources`.

    pip install -c constraints.txt ".[notebooks]"
    python examples/make_notebooks.py

Edit the sources, never the notebooks, and run this again. A source is a notebook in Markdown. The
source of a data set holds notes, which fill in a Jinja template: `benchmark.md` or `shift.md`. The
tags of Jinja are written `<% %>` and `<< >>`, because Python code has braces of its own.

Notebooks on bundled data are executed and keep their outputs. The others have no outputs, because
their data sets cannot be shipped.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import jinja2
import jupytext
import nbformat

NOTEBOOKS = Path(__file__).parent / "notebooks"
SOURCES = NOTEBOOKS / "sources"
TEMPLATES = ("benchmark", "shift")
ON_BUNDLED_DATA = ("quickstart", "own_images", "own_functional_model", "ablation")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "KERAS_BACKEND": "torch",
            # Sums are the same for any number of cores. It is also faster: the tensors are small.
            "OMP_NUM_THREADS": "1",
            "TMPDIR": folder,
        }
        for name in source_names():
            notebook = make_notebook(name)
            if name in ON_BUNDLED_DATA:
                execute(notebook, folder)
            path = NOTEBOOKS / f"{name}.ipynb"
            nbformat.write(notebook, path)
            print(path.name)


def source_names():
    """Returns the name of each notebook."""
    return sorted(path.stem for path in SOURCES.glob("*.md") if path.stem not in TEMPLATES)


def make_notebook(name):
    """Returns a notebook without outputs."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SOURCES),
        undefined=jinja2.StrictUndefined,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(f"{name}.md").render(name=name)
    notebook = jupytext.reads(text, fmt="md")
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext draws ids at random.
        cell.metadata.clear()
    return notebook


def execute(notebook, folder):
    """Runs a notebook in a folder. Keeps its outputs without all that differs from run to run."""
    from nbclient import NotebookClient  # Not at the top: the tests do without it.

    NotebookClient(
        notebook, resources={"metadata": {"path": folder}}, coalesce_streams=True
    ).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        # The tests run the same cells with warnings as errors. What is left on stderr are greetings
        # of TensorFlow and the like.
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = None
                # A PIL image shows itself as PNG and as JPEG. One is enough.
                output.data.pop("image/jpeg", None)


if __name__ == "__main__":
    main()
