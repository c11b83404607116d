"""The notebook files have the cells of their scripts, and outputs where these can be had."""

import re
import runpy

import pytest
from paths import EXAMPLES

pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")


SCRIPTS = sorted(path for path in EXAMPLES.glob("notebooks/*.py") if path.stem != "steps")
ON_BUNDLED_DATA = ("quickstart", "own_images", "own_functional_model", "ablation")
EACH = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
# "/home/me" or "C:\Users", but not "lined / banded".
PATH = re.compile(r"(?<!\w)~?/\w+/|[A-Za-z]:\\")


@pytest.fixture(scope="module")
def read_script():
    return runpy.run_path(str(EXAMPLES / "make_notebooks.py"))["read_script"]


def read_notebook(script):
    return nbformat.read(script.with_suffix(".ipynb"), as_version=nbformat.NO_CONVERT)


def test_each_script_has_a_notebook():
    notebooks = sorted(EXAMPLES.glob("notebooks/*.ipynb"))
    assert [path.with_suffix(".py") for path in notebooks] == SCRIPTS
    assert len(notebooks) == 15 + 4


@EACH
def test_the_notebook_is_the_script(script, read_script):
    notebook = read_notebook(script)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    assert notebook == read_script(script), "run `python examples/make_notebooks.py`"


@EACH
def test_outputs(script):
    cells = [cell for cell in read_notebook(script).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    if script.stem not in ON_BUNDLED_DATA:
        assert outputs == []
        return
    for cell in cells:
        assert cell.outputs or "print(" not in cell.source or "def " in cell.source
    for output in outputs:
        assert output.output_type in ("stream", "execute_result")
        assert output.get("name") != "stderr"
        shown = output.get("text") or output.data["text/plain"]
        assert not PATH.search(shown), shown
    assert script.with_suffix(".ipynb").stat().st_size < 200_000
