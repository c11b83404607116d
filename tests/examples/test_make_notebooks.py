"""The notebooks are what their sources say, run alone, and show outputs where they can."""

import ast
import importlib
import re
import runpy
import sys

import pytest
from paths import EXAMPLES, NOTEBOOKS

pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")

SCRIPT = runpy.run_path(str(EXAMPLES / "make_notebooks.py"))
EACH = pytest.mark.parametrize("name", SCRIPT["source_names"]())
# "/home/me" or "C:\\Users", but not "lined / banded".
PATH = re.compile(r"(?<!\w)~?/\w+/|[A-Za-z]:\\")
FROM_PYPI = {"keras", "numpy", "platformdirs"}


def read_notebook(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_each_source_has_a_notebook():
    notebooks = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    assert notebooks == SCRIPT["source_names"]()
    assert len(notebooks) == 15 + 4


@EACH
def test_the_notebook_is_its_source(name):
    notebook = read_notebook(name)
    nbformat.validate(notebook)
    for cell in code_cells(notebook):
        cell.outputs = []
    expected = SCRIPT["make_notebook"](name)
    assert notebook == expected, "run `python examples/make_notebooks.py`"


@EACH
def test_its_one_title_comes_first(name):
    texts = [cell.source for cell in read_notebook(name).cells if cell.cell_type == "markdown"]
    assert len(texts) >= 3
    titles = [line for text in texts for line in text.splitlines() if line.startswith("# ")]
    assert titles == texts[0].splitlines()[:1]
    assert not any("<%" in text or "<<" in text for text in texts)


@EACH
def test_it_imports_nothing_but_public_names(name):
    notebook = read_notebook(name)
    assert "pip install keras-cmm" in notebook.cells[0].source
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module]
                if node.module.startswith("keras_cmm"):
                    public = importlib.import_module(node.module).__all__
                    assert {alias.name for alias in node.names} <= set(public)
            else:
                continue
            tops = {module.partition(".")[0] for module in modules}
            assert tops <= {"keras_cmm", *FROM_PYPI, *sys.stdlib_module_names}


@EACH
def test_outputs(name):
    cells = code_cells(read_notebook(name))
    outputs = [output for cell in cells for output in cell.outputs]
    if name not in SCRIPT["ON_BUNDLED_DATA"]:
        assert outputs == []
        return
    for cell in cells:
        assert cell.outputs or "print(" not in cell.source
    for output in outputs:
        assert output.output_type in ("stream", "execute_result")
        assert output.get("name") != "stderr"
        shown = output.get("text") or output.data["text/plain"]
        assert not PATH.search(shown), shown
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size < 200_000
