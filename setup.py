"""Packaging; Dataflow's --setup_file needs this very file."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "q1net_core/__init__.py").read_text())[1]

setup(
    name="q1net",
    version=VERSION,
    description="How hard was every picture of an archive compressed? Beam pipelines around Q1Net.",
    long_description=(HERE / "README.md").read_text() if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["q1net_core*", "pipelines*", "training*"]),
    package_data={
        "pipelines.audit.report": ["*.j2"],
        "q1net_core": ["weights/*", "data/*.json", "data/*.png", "py.typed"],
    },
    install_requires=[
        "apache-beam>=2.77,<2.78",
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "matplotlib>=3.10,<4",
        "numpy>=2.0,<2.5",
        "onnxruntime>=1.31,<2",
        "packaging>=24",
        "pillow>=12.3,<13",
        "pyarrow>=20,<26",
        "simplejpeg>=1.9,<2",
        "fsspec>=2026.1",
        "h5py>=3.14,<4",
        "gcsfs>=2026.1",
        "google-crc32c>=1.7",
        "jinja2>=3.1,<4",
        "requests>=2.32,<3",
        "tabulate>=0.9,<1",
        "tenacity>=9.1,<10",
        "tqdm>=4.66",
    ],
    extras_require={
        "boost": ["constriction>=0.5,<0.6"],
        "gcp": ["apache-beam[gcp]>=2.77,<2.78"],
        "s3": ["s3fs>=2026.1"],
        "jxl": ["imagecodecs>=2026.3,<2027"],
        "onnx": ["onnx>=1.23,<2", "tf2onnx>=1.17,<2"],
        "train": ["tensorboard>=2.20"],
        "finetune": ["torch>=2.9"],
        "yaml": ["apache-beam[yaml]>=2.77,<2.78"],
        "video": ["av>=18.1,<19"],
        "dev": [
            "apache-beam[yaml]>=2.77,<2.78",
            "av>=18.1,<19",
            "constriction>=0.5,<0.6",
            "duckdb>=1.4,<2",
            "gcp-storage-emulator>=2026.7",
            "google-cloud-dataflow-client>=0.13,<0.14",
            "hypothesis>=6.150",
            "imagecodecs>=2026.3,<2027",
            "jpeglib>=1.0.2,<2",
            "moto[server]>=5.2",
            "mypy>=1.18",
            "onnx>=1.23,<2",
            "polars>=1.35,<2",
            "psutil>=7,<8",
            "pytest>=8.4",
            "pytest-xdist>=3.8",
            "python-hcl2>=8.1,<9",
            "ruff>=0.14",
            "s3fs>=2026.1",
            "setuptools>=80",
            "tensorboard>=2.20",
            "tf2onnx>=1.17,<2",
            "types-requests>=2.32",
            "types-tabulate>=0.9,<1",
        ],
    },
    entry_points={"console_scripts": ["q1net = pipelines.cli:command"]},
)
