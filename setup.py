"""The one thing that pyproject.toml cannot say: the configs of the checkout travel inside the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["dtrm_jax", "dtrm_jax.*"]), "dtrm_jax.configs"],
    package_dir={"dtrm_jax.configs": "configs"},
)
