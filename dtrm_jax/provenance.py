"""Where numbers come from: the command, the code, the versions and the machine that computed something.

Nothing here tells who computed it or where things lie: of a folder on the machine, its name alone is kept.
"""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import dtrm_jax
from dtrm_jax.errors import printable

# What decides about the numbers, and what runs the accelerators; those that are not installed are left out.
PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint", "grain", "tokenizers", "safetensors"),
    *("jax-cuda12-plugin", "jax-cuda13-plugin", "libtpu"),
)
# Variables by which XLA computes other numbers.
VARIABLES = ("XLA_FLAGS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_ENABLE_X64", "NVIDIA_TF32_OVERRIDE")
_LONGEST = 200  # characters of a word of the command
_MOST = 100  # words
_SHOWN = 5  # surroundings of a training
_SECONDS = 10  # for git
_ABSOLUTE = r"(?:file:|~|[A-Za-z]:[\\/]|[\\/])"


def provenance() -> dict[str, Any]:
    """Returns where what this process computes comes from, as JSON types.

    The keys are ``command`` (the words of the command line), ``versions`` (package -> version), ``code`` (``commit``
    and ``changed``, whether the package differs from it; None where git knows nothing of it), ``machine`` (``system``,
    ``processor``, ``cores``, ``processes`` and ``devices``, of all processes) and ``variables``, those that are set of
    ``VARIABLES``.

    JAX starts its devices, unless it has done so before.
    """
    return {
        "command": _command(sys.orig_argv),
        "versions": _versions(),
        "code": _code(Path(dtrm_jax.__file__).parent),
        "machine": _machine(),
        "variables": {
            name: " ".join(map(_without_places, os.environ[name].split())) for name in VARIABLES if os.environ.get(name)
        },
    }


def made_with(
    done: str, provenance: Mapping[str, Any] | None, fingerprint: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Returns in words what something was computed with, and on which data.

    Args:
        done: What was done: "evaluated".
        provenance: As ``provenance`` gives it, perhaps from a file that someone has edited; None if it is not known.
        fingerprint: Of the data; empty or None if it is not known.

    Returns:
        Texts by term, such as "evaluated by", the command, and "evaluated with"; what is not known is left out.
    """
    result = {}
    if isinstance(provenance, Mapping):
        words = _of_type(provenance, "command", list)
        parts = (_shown_code(provenance), _shown_packages(provenance), _shown_machine(provenance))
        texts = {"by": " ".join(map(str, words)), "with": "; ".join(filter(None, parts))}
        result = {f"{done} {term}": printable(text) for term, text in texts.items() if text}
    if isinstance(fingerprint, Mapping) and fingerprint:
        digests = ", ".join(f"{name} {digest}" for name, digest in fingerprint.items())
        result["digests of the data"] = printable(digests)
    return result


def trained_with(starts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Returns in words what a training ran on; if it was resumed elsewhere, each surrounding with its first step.

    Args:
        starts: Of the training (``run_directory.starts``). Of very many, some in the middle are only counted.

    Returns:
        Texts by term; empty if nothing is known.
    """
    left_out = starts[1 : len(starts) - _SHOWN + 1] if len(starts) > _SHOWN else ()
    result: dict[str, str] = {}
    for number, one in enumerate(starts):
        if number == 1 and left_out:
            result["trained elsewhere"] = f"{len(left_out)} times in between, see provenance.json of the run"
        if not 1 <= number <= len(left_out):
            since = f", from step {one['starts'][0]['step']} on," if len(starts) > 1 else ""
            result |= made_with(f"trained{since}", one)
    return result


def _shown_code(values: Mapping[str, Any]) -> str:
    versions, code = _of_type(values, "versions", dict), _of_type(values, "code", dict)
    own = f"dtrm_jax {versions['dtrm_jax']}" if "dtrm_jax" in versions else ""
    commit = f"commit {str(code['commit'])[:12]}" if "commit" in code else ""
    return ", ".join(filter(None, (own, commit, "changed since" if code.get("changed") else "")))


def _shown_packages(values: Mapping[str, Any]) -> str:
    versions = _of_type(values, "versions", dict)
    return ", ".join(f"{name} {version}" for name, version in versions.items() if name != "dtrm_jax")


def _shown_machine(values: Mapping[str, Any]) -> str:
    machine, variables = _of_type(values, "machine", dict), _of_type(values, "variables", dict)
    parts = [machine.get("devices"), machine.get("processor")]
    if machine.get("cores"):
        parts.append(f"{machine['cores']} cores")
    if machine.get("processes", 1) != 1:
        parts.append(f"{machine['processes']} processes")
    parts += [machine.get("system"), *(f"{name}={value}" for name, value in variables.items())]
    return ", ".join(str(part) for part in parts if part)


def _of_type(values: Mapping[str, Any], name: str, kind: type) -> Any:
    value = values.get(name)
    return value if isinstance(value, kind) else kind()


def _command(words: Sequence[str]) -> list[str]:
    """Returns the words of a command line: its program by name, places by their last part, code that it holds left out.

    That is code after ``-c``, which Python runs.
    """
    result = [PureWindowsPath(words[0]).name] if words else []
    for before, word in zip(words, words[1:], strict=False):
        result.append("..." if before == "-c" and len(result) == 2 else _without_places(word)[:_LONGEST])
    return result[:_MOST]


def _without_places(word: str) -> str:
    """Returns a word whose absolute paths, after an equals sign or commas too, have lost all but their last part."""
    return "".join(map(_last_part, re.split(rf"(?<=[=,;\[('\"])(?={_ABSOLUTE})", word)))


def _last_part(text: str) -> str:
    if not re.match(_ABSOLUTE, text):
        return text
    if os.path.normpath(os.path.expanduser(text)) == os.path.expanduser("~"):
        return "~"  # whose last part is mostly a name
    return f".../{PureWindowsPath(text).name}"


def _versions() -> dict[str, str]:
    result = {"python": platform.python_version(), "dtrm_jax": dtrm_jax.__version__}
    for name in PACKAGES:
        try:
            result[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return result


def _code(package: Path) -> dict[str, Any] | None:
    """Returns the commit of a package's folder: as git has it there, or as pip has fetched it."""
    if not (package.parent / ".git").exists():  # installed, perhaps inside another project's folder
        return _fetched()
    commit = _git(package, "rev-parse", "HEAD")
    status = _git(package, "status", "--porcelain", "--", ".")
    return None if commit is None or status is None else {"commit": commit, "changed": status != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *arguments],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):  # no git, or it refuses
        return None
    return found.stdout.strip()


def _fetched() -> dict[str, Any] | None:
    try:
        text = importlib.metadata.distribution("dtrm_jax").read_text("direct_url.json")
        commit = json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    except (importlib.metadata.PackageNotFoundError, ValueError, AttributeError):
        return None
    return {"commit": commit, "changed": False} if isinstance(commit, str) else None


def _machine() -> dict[str, Any]:
    import jax

    kinds = Counter(device.device_kind for device in jax.devices())
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": cores(),
        "processes": jax.process_count(),
        "devices": ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) + f" ({jax.default_backend()})",
    }


def cores() -> int:
    """Returns how many cores this process may use: fewer than the machine's where it is bound, as by Slurm."""
    bound = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(bound(0)) if bound else os.cpu_count() or 1


def _processor() -> str:
    """Returns the model of the processor, as Linux knows it, or its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()
