import subprocess
import sys


def test_subpackages_are_there_at_first_use():
    # In an order in which none brings in the next.
    code = (
        "import sys, keras_cmm\n"
        "for name in ('data', 'clip', 'methods', 'evaluation', 'report'):\n"
        "    assert f'keras_cmm.{name}' not in sys.modules, name\n"
        "    assert getattr(keras_cmm, name) is sys.modules[f'keras_cmm.{name}']\n"
        "assert not hasattr(keras_cmm, 'datas')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
