"""The rules of CONTRIBUTING.md about where code lives and what it may import."""

import ast
import re
import sys

import pytest
from paths import PROJECT

PACKAGES = (
    "keras_cmm",
    "keras_cmm_cli",
    "keras_cmm_runtime",
    "keras_cmm_server",
    "keras_cmm_studio",
)
MAX_LINES = 550
# What every package may import.
EVERYWHERE = {
    "keras_cmm",
    "errors",
    "utils",
    "keras_cmm_runtime",
    "keras_cmm_runtime.errors",
    "keras_cmm_runtime.utils",
}
# What `keras_cmm_runtime` may import: its requirements, and what it imports only for some files.
LIGHT = ("numpy", "onnxruntime", "PIL")
OPTIONAL = (
    *("datasets", "filelock", "fsspec", "huggingface_hub", "pillow_heif", "platformdirs"),
    *("pyarrow", "ray", "safetensors", "uvicorn"),
)
# What `keras_cmm_server` may import besides.
OF_THE_SERVER = ("prometheus_client", "starlette", "uvicorn")
# Inside `keras_cmm.clip`: a room, and the rooms that it may import.
CLIP_ROOMS = {
    "inputs": set(),
    "backbones": set(),
    "checkpoints": {"backbones", "inputs"},
    "graphs": set(),
    "libraries": {"backbones", "checkpoints", "inputs"},
    "encoders": {"backbones", "graphs", "inputs"},
    "embedding": {"encoders"},
}


def python_files(*folders):
    return [path for folder in folders for path in sorted((PROJECT / folder).rglob("*.py"))]


def module_name(path):
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in python_files(*PACKAGES)}


def imported(path):
    """Yields module and name of every import of a file: in functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield from ((node.module, alias.name) for alias in node.names)


def imported_modules(path):
    """Returns the modules of our packages that a file imports."""
    named = {f"{module}.{name}" for module, name in imported(path)} & set(MODULES)
    from_modules = {
        module for module, name in imported(path) if f"{module}.{name}" not in MODULES
    } & set(MODULES)
    return named | from_modules


IMPORTS = {module: imported_modules(path) for module, path in MODULES.items()}


def cycles(imports):
    """Returns the groups of modules of which each imports the others, directly or not."""

    def reached(module):
        found, waiting = set(), [module]
        while waiting:
            new = imports[waiting.pop()] - found
            found |= new
            waiting += new
        return found

    reach = {module: reached(module) for module in imports}
    groups = {
        frozenset(other for other in reach[module] if module in reach[other])
        for module in imports
        if module in reach[module]
    }
    return [set(group) for group in groups]


def package(module):
    """Returns `models` for `keras_cmm.models.checks`; see `PACKAGES`."""
    first, second = [*module.split("."), "", ""][:2]
    if first == "keras_cmm" and second:
        return second
    return f"{first}.{second}" if first == "keras_cmm_runtime" and second else first


def allowed_imports():
    """Reads the table of CONTRIBUTING.md: for each package all that it may import."""
    named = {}
    for line in (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| `keras_cmm"):
            folders, _, may_import = line.strip("|").split("|")
            for folder in re.findall(r"`([\w/]+)`", folders):
                named[package(folder.replace("/", "."))] = set(
                    re.findall(r"`([\w.]+)`", may_import)
                )
    allowed = {}
    for name in named:
        allowed[name], waiting = {name}, [name]
        while waiting:
            new = named[waiting.pop()] - allowed[name]
            allowed[name] |= new
            waiting += new
    return allowed


def test_cycles_finds_them():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_imports_are_seen():
    """Those of a package, of a module in it, of a name, in a function and for type checkers."""
    assert "keras_cmm.models" in IMPORTS["keras_cmm"]
    assert "keras_cmm.clip.loading" in IMPORTS["keras_cmm.clip"]
    assert "keras_cmm.clip" in IMPORTS["keras_cmm_cli.commands.embed"]
    assert "keras_cmm.clip" in IMPORTS["keras_cmm_cli.benchmark_inputs"]


def test_no_modules_import_each_other():
    assert cycles(IMPORTS) == []


def test_packages_import_what_contributing_says():
    allowed = allowed_imports()
    packages = {package(module) for module in MODULES} - EVERYWHERE
    assert set(allowed) == packages
    # Nothing may import `keras_cmm_cli`, since no row names it.
    back = {
        f"{package(module)} imports {package(other)}"
        for module, others in IMPORTS.items()
        for other in others
        if package(module) in allowed.keys() - {"keras_cmm_cli"}
        and package(other) not in allowed[package(module)] | EVERYWHERE
    }
    assert back == set()


@pytest.mark.parametrize("name", sorted(EVERYWHERE - {"keras_cmm", "keras_cmm_runtime"}))
def test_what_all_may_import_imports_nothing_else(name):
    others = {
        package(other)
        for module, found in IMPORTS.items()
        if package(module) == name
        for other in found
    }
    assert others <= EVERYWHERE - {"keras_cmm"}


def test_the_runtime_imports_nothing_heavy():
    ours = {package(module).partition(".")[0] for module in IMPORTS if "runtime" in module}
    assert ours == {"keras_cmm_runtime"}
    for path in python_files("keras_cmm_runtime"):
        for module, _ in imported(path):
            first = module.partition(".")[0]
            known = first in {"keras_cmm_runtime", *LIGHT, *OPTIONAL}
            assert known or first in sys.stdlib_module_names, (path, module)


def test_the_server_imports_nothing_heavy():
    for path in python_files("keras_cmm_server"):
        for module, _ in imported(path):
            first = module.partition(".")[0]
            known = first in {"keras_cmm_server", "keras_cmm_runtime", *LIGHT, *OF_THE_SERVER}
            assert known or first in sys.stdlib_module_names, (path, module)


@pytest.mark.parametrize("room", CLIP_ROOMS)
def test_rooms_of_clip(room):
    prefix = "keras_cmm.clip."
    others = {
        other.removeprefix(prefix).partition(".")[0]
        for module, found in IMPORTS.items()
        if module.startswith(prefix + room)
        for other in found
        if other.startswith(prefix) or other == "keras_cmm.clip"
    }
    assert others <= CLIP_ROOMS[room] | {room, "clip_model"}


@pytest.mark.parametrize("name", ["layers", "losses"])
def test_layers_and_losses_import_keras_alone(name):
    for path in python_files(f"keras_cmm/{name}"):
        for module, _ in imported(path):
            first = module.partition(".")[0]
            is_own = module.startswith(f"keras_cmm.{name}")
            assert is_own or first == "keras" or first in sys.stdlib_module_names, (path, module)


def test_no_private_name_is_imported():
    for path in python_files(*PACKAGES):
        for module, name in imported(path):
            parts = [*module.split("."), *([name] if name else [])]
            private = [part for part in parts if part.startswith("_") and part[:2] != "__"]
            assert not private, (path, module, name)


def test_command_line_imports_public_faces_alone():
    for path in python_files("keras_cmm_cli"):
        ours = {module for module, _ in imported(path) if module in MODULES}
        inside = {
            module
            for module in ours
            if package(module) != "keras_cmm_cli" and MODULES[module].name != "__init__.py"
        }
        assert not inside, (path, inside)


def test_no_module_has_a_private_name():
    for path in python_files(*PACKAGES, "examples", "tests"):
        assert not path.name.startswith("_") or path.stem in ("__init__", "__main__"), path


def test_no_file_is_too_long():
    long_files = {
        path.relative_to(PROJECT).as_posix()
        for path in python_files(*PACKAGES, "examples", "tests")
        if len(path.read_text(encoding="utf-8").splitlines()) > MAX_LINES
    }
    assert long_files == set()
