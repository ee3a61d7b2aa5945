"""Which versions made a run."""

from importlib.metadata import PackageNotFoundError, version

from q1net_core import __version__

# What pixels, numbers and files depend on; name in a run's JSON -> distribution.
LIBRARIES = {
    "beam": "apache-beam",
    "keras": "keras",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "onnxruntime": "onnxruntime",
    "numpy": "numpy",
    "pillow": "pillow",
    "simplejpeg": "simplejpeg",
    "pyarrow": "pyarrow",
}


def find_versions() -> dict[str, str]:
    """Versions of q1net and of the libraries a run depends on, those that are installed; none of them is imported."""
    found = {"q1net": __version__}
    for name, distribution in LIBRARIES.items():
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:
            continue
    return found
