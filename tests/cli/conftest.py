import pytest
from click.testing import CliRunner
from folders import files_in, write_photos
from make_embeddings import make_embeddings

from keras_cmm_cli.main import cli


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """An empty home of the package, so that no test finds the embeddings of another."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("KERAS_CMM_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def run():
    """Runs `keras-cmm` with the arguments; returns click's `Result`."""

    def run(*arguments):
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="session")
def refused(run):
    """Runs `keras-cmm`, expects it to refuse, and returns its one line."""

    def refused(*arguments):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, result.stderr
        assert result.stderr.endswith(errors[0] + "\n")
        assert "Traceback" not in result.stderr
        return errors[0]

    return refused


@pytest.fixture
def refuse_output(refused, tiny_preset, tmp_path):
    """Runs a command that must refuse and leave `tmp_path` as it is; returns its one line."""

    def refuse_output(command, *arguments, output, preset=tiny_preset):
        before = files_in(tmp_path)
        options = ("--preset", preset, "--output", tmp_path / output)
        line = refused(command, *arguments, *options)
        assert files_in(tmp_path) == before
        return line

    return refuse_output


@pytest.fixture
def fit(run, tiny_preset, tmp_path):
    """Runs `fit` quickly; returns click's result and the output folder."""

    def fit(*arguments, output="model", epochs=2):
        folder = tmp_path / output
        options = ("--preset", tiny_preset, "--epochs", epochs, "--output", folder)
        return run("fit", *options, *arguments), folder

    return fit


@pytest.fixture
def photos(tmp_path):
    """A folder of three classes of six noisy one-colour PNGs."""
    return write_photos(tmp_path / "photos")


@pytest.fixture(scope="session")
def shared_photos(tmp_path_factory):
    """The same folder for tests that change nothing in it."""
    return write_photos(tmp_path_factory.mktemp("shared") / "photos")


@pytest.fixture(scope="session")
def model_dir(run, shared_photos, tiny_preset, tmp_path_factory):
    """A model of `keras-cmm fit` on two images a class. Tests must not change it."""
    folder = tmp_path_factory.mktemp("model") / "model"
    result = run(
        "fit", shared_photos, "--preset", tiny_preset, "--shots", 2, "--output", folder, "-q"
    )
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="session")
def embeddings_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("embeddings") / "generated.safetensors"
    make_embeddings().write(path)
    return path
