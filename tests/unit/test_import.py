"""What `import waterdrop_py` loads, and what is loaded by the first producer."""

from __future__ import annotations

import subprocess
import sys


def test_checks_of_properties_are_loaded_by_the_first_producer() -> None:
    """The import stays fast: the modules that check properties take 10 % of it."""
    code = (
        "import sys, waterdrop_py;"
        "checks = {f'waterdrop_py._settings.{name}' for name in "
        "('producer_check', 'librdkafka_check', 'conflicts', 'numbers', 'servers')};"
        "assert not checks & sys.modules.keys();"
        "kafka = {'bootstrap.servers': 'h'};"
        "waterdrop_py.Producer(kafka=kafka, deliver=False).close();"
        "assert checks <= sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
