"""Java, and Kafka's jars: found, or fetched once with Maven into a cached folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .errors import HarnessError

POM = Path(__file__).parent.parent / "pom.xml"
PROJECT = POM.parent.parent.parent
CACHE_VARIABLE = "KAFKA_TEST_CACHE"
OLDEST_JAVA = 17
MAVEN_SECONDS = 600

_JAVA_HELP = (
    f"Kafka needs Java {OLDEST_JAVA} or newer. Install it with "
    "`apt-get install openjdk-17-jre-headless` (Debian, Ubuntu) or "
    "`brew install openjdk@17` (macOS), or set JAVA_HOME to one."
)
_MAVEN_HELP = (
    "Kafka's jars are fetched with Maven (`mvn`). Install it with "
    "`apt-get install maven` (Debian, Ubuntu) or `brew install maven` (macOS)."
)
_OPENSSL_HELP = (
    "The broker's certificates are made with `openssl`. Install it with "
    "`apt-get install openssl` (Debian, Ubuntu) or `brew install openssl` (macOS)."
)


def java() -> str:
    """The `java` to run; `HarnessError` when there is none or it is too old."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if found is None:
        where = f"in JAVA_HOME ({home})" if home else "on the PATH"
        raise HarnessError(f"no java {where}. {_JAVA_HELP}")
    said = subprocess.run(
        [found, "-version"], capture_output=True, text=True, check=False, timeout=60
    )
    text = said.stderr + said.stdout
    version = re.search(r'version "(?:1\.)?(\d+)', text)
    if version is None:
        raise HarnessError(f"{found} -version said: {text.strip()!r}. {_JAVA_HELP}")
    if int(version[1]) < OLDEST_JAVA:
        raise HarnessError(f"{found} is Java {version[1]}. {_JAVA_HELP}")
    return found


def openssl() -> str:
    """The `openssl` to run; `HarnessError` when there is none."""
    found = shutil.which("openssl")
    if found is None:
        raise HarnessError(f"no openssl on the PATH. {_OPENSSL_HELP}")
    return found


def kafka_version() -> str:
    """The version of Kafka that the pom names."""
    named = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text())
    if named is None:
        raise HarnessError(f"{POM} names no kafka.version")
    return named[1]


def kafka_jars() -> Path:
    """The folder of Kafka's jars, fetched when it is not there; may take a minute.

    It is `.cache/kafka-libs-<version>` in the project, or in the folder that
    `KAFKA_TEST_CACHE` names. The folder appears by a rename, so an interrupted
    fetch never looks complete, and holds the pom that it was made from, so a
    changed pom is fetched anew.
    """
    cache = Path(os.environ.get(CACHE_VARIABLE) or PROJECT / ".cache")
    target = cache / f"kafka-libs-{kafka_version()}"
    if _is_complete(target):
        return target
    mvn = shutil.which("mvn")
    if mvn is None:
        raise HarnessError(f"no mvn on the PATH. {_MAVEN_HELP}")
    cache.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="kafka-libs-fetching-", dir=cache))
    try:
        _fetch(mvn, fresh)
        _publish(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _is_complete(folder: Path) -> bool:
    kept = folder / POM.name
    return kept.is_file() and kept.read_bytes() == POM.read_bytes()


def _fetch(mvn: str, folder: Path) -> None:
    command = [mvn, "-q", "-B", "-f", str(POM)]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=MAVEN_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise HarnessError(f"Maven took more than {MAVEN_SECONDS} s") from None
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise HarnessError(f"Maven could not fetch Kafka's jars:\n{said}")
    shutil.copyfile(POM, folder / POM.name)


def _publish(fresh: Path, target: Path) -> None:
    if target.exists():
        if _is_complete(target):  # another run was faster
            return
        shutil.rmtree(target)
    fresh.rename(target)
