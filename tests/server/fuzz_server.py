"""Fuzzes the server by its OpenAPI schema, with schemathesis.

The tests do so with few examples. For longer, with a server of a tiny model, or of one that runs:

    python tests/server/fuzz_server.py --examples 2000 [--url http://127.0.0.1:8000]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

# Beside schemathesis's other checks: no answer of 5xx, and none that the schema does not describe.
_CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)


def fuzz(url, examples, phases="examples,coverage,fuzzing", seed=1, seconds=600):
    """Fuzzes a running server; returns what schemathesis printed, or raises an error with it."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{url}/openapi.json",
        f"--checks={_CHECKS}",
        f"--max-examples={examples}",
        f"--seed={seed}",
        f"--phases={phases}",
        "--mode=all",
        "--no-color",
        "--generation-database=none",
        "--request-timeout=60",
    ]
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, cwd=folder
        )
    output = result.stdout + result.stderr
    if result.returncode:
        raise AssertionError(output)
    return output


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="a running server")
    parser.add_argument("--examples", type=int, default=500, help="most examples an operation")
    parser.add_argument("--seconds", type=int, default=3600, help="most seconds")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    options = {"seed": arguments.seed, "seconds": arguments.seconds}
    if arguments.url:
        print(fuzz(arguments.url, arguments.examples, **options))
        return
    from tiny_onnx import write_tiny_onnx

    code = "from keras_cmm_cli.main import main; main()"
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_onnx(Path(folder) / "colours")
        command = [sys.executable, "-c", code, "serve", str(model), "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            try:
                url = server.stderr.readline().partition(" at ")[2].split(" ")[0]
                print(fuzz(url, arguments.examples, **options))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
