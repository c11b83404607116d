"""Makes the notebook files of examples/notebooks anew from the scripts that they are paired with.

    pip install -c constraints.txt ".[notebooks]"
    python examples/make_notebooks.py

Edit the scripts, then run this. The notebooks on bundled data are run and hold what they show. The
others hold no outputs: they need data sets that cannot be shipped.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import jupytext
import nbformat

NOTEBOOKS = Path(__file__).parent / "notebooks"
ON_BUNDLED_DATA = ("quickstart", "own_images", "own_functional_model", "ablation")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "KERAS_BACKEND": "torch",
            # The same sums whatever the number of cores, and faster: the tensors are small.
            "OMP_NUM_THREADS": "1",
            # No embeddings of earlier runs, and nothing left behind.
            "KERAS_CMM_HOME": folder,
            "TMPDIR": folder,
        }
        for script in sorted(NOTEBOOKS.glob("*.py")):
            if script.stem == "steps":
                continue
            notebook = read_script(script)
            if script.stem in ON_BUNDLED_DATA:
                execute(notebook)
            nbformat.write(notebook, script.with_suffix(".ipynb"))
            print(script.with_suffix(".ipynb").name)


def read_script(path):
    """Returns a script as a notebook without outputs."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext draws them at random
        cell.metadata.clear()
    return notebook


def execute(notebook):
    """Runs a notebook, and keeps what it shows without what differs from run to run."""
    from nbclient import NotebookClient  # not at the top: the tests only read scripts

    client = NotebookClient(
        notebook, resources={"metadata": {"path": str(NOTEBOOKS)}}, coalesce_streams=True
    )
    client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        # Tests run the same cells with warnings as errors; the rest on stderr are greetings of
        # TensorFlow and the like.
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = None
                # A PIL image shows itself in each format that it can.
                output.data.pop("image/jpeg", None)


if __name__ == "__main__":
    main()
