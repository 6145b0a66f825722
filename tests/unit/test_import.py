"""What `import waterdrop_py` loads, and what waits for its first use."""

from __future__ import annotations

import subprocess
import sys


def test_the_judges_of_properties_are_loaded_with_the_first_producer() -> None:
    """The import stays quick: they are a tenth of it."""
    code = (
        "import sys, waterdrop_py;"
        "judges = {f'waterdrop_py._settings.{name}' for name in "
        "('properties', 'conflicts', 'numbers', 'servers')};"
        "assert not judges & sys.modules.keys();"
        "kafka = {'bootstrap.servers': 'h'};"
        "waterdrop_py.Producer(kafka=kafka, deliver=False).close();"
        "assert judges <= sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
