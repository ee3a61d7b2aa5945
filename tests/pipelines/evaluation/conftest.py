from pathlib import Path

import pytest
from PIL import Image

PHOTOGRAPHS = Path(__file__).parents[2] / "photographs"


@pytest.fixture(scope="session")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small pictures as PNG files."""
    folder = tmp_path_factory.mktemp("lossless")
    for name in ("camera/airplane.png", "messenger/wreck.png"):
        Image.open(PHOTOGRAPHS / name).crop((200, 100, 296, 180)).save(folder / Path(name).name)
    return folder
