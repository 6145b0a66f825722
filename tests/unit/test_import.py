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


def test_only_core_dependencies_are_loaded() -> None:
    """The import, and the error of a wrong option, need confluent_kafka and blinker."""
    code = (
        "import sys, confluent_kafka; before = {*sys.modules}; import waterdrop_py\n"
        "try: waterdrop_py.Config(id='', kafkaa=1)\n"
        "except waterdrop_py.errors.ConfigurationInvalidError: pass\n"
        "loaded = {name.partition('.')[0] for name in sys.modules.keys() - before}\n"
        "others = {each for each in loaded - sys.stdlib_module_names"
        "          if each[0] != '_'}\n"
        "assert others == {'waterdrop_py', 'blinker'}, others"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
