"""Who may import what, read from the source: each layer knows only those below it."""

import ast
from graphlib import CycleError, TopologicalSorter

import pytest
from rooms import MODULES, arrows, floors, imported, imports, modules_of, room_of

from q1net_core.network.variants import VARIANTS

# The rooms of the core from the lowest layer to the highest: a room knows its own layer and those below.
CORE = (
    ("arrays", "errors", "markdown", "png", "records", "transient", "web"),
    ("alterations", "fusion", "jpeg", "metrics", "patches", "storage", "verdict"),
    ("codecs", "images", "intervals", "lattice", "listing", "overlay", "sampling", "stopping"),
    ("network",),
    ("boost", "settings"),
    ("estimator",),
)
LAYER = {f"q1net_core.{room}": number for number, layer in enumerate(CORE) for room in layer}
# Each of these stands alone; what they share lies beside them.
APART = {"pipelines.audit", "pipelines.boost", "pipelines.evaluation", "pipelines.shards"}
STANDARD_OR_NUMPY_ONLY = ("q1net_core.arrays", "q1net_core.records", "q1net_core.errors", "q1net_core.verdict")
# A second decoder must give Pillow's pixels bit for bit before it may come in: TensorFlow's own default does not,
# simplejpeg does (tests/core/images/test_ordinary_jpeg.py).
DECODERS = {"cv2", "imageio", "jpeglib", "skimage", "turbojpeg", "pyvips", "rawpy"}
# All of the core but the networks.
LIGHT = [name for name in MODULES if name.startswith("q1net_core") and not name.startswith("q1net_core.network")]
# Modules that build a network, by what VARIANTS says, and what they share.
BUILDERS = {variant.architecture.builder.partition(":")[0] for variant in VARIANTS.values()}
BUILDERS |= {"q1net_core.network.heads"}
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}
HEAVY = FRAMEWORKS | {"apache_beam", "pyarrow"}
COMMANDS = (
    "pipelines.audit.command",
    "pipelines.doctor.command",
    "pipelines.evaluation.command",
    "pipelines.export",
    "pipelines.predict",
    "pipelines.shards.command",
)


def packages(module: str, inside_functions: bool = True) -> set[str]:
    return {name.partition(".")[0] for name in imported(module, inside_functions)}


def importers(package: str, inside_functions: bool = True) -> set[str]:
    return {module for module in MODULES if package in packages(module, inside_functions)}


def test_the_rules_below_see_the_imports() -> None:
    code = (
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\n"
        "def f():\n    import g\nclass C:\n    def h(self):\n        import i\n"
        "try:\n    import j\nexcept E:\n    pass\n"
    )
    assert set(imports(ast.parse(code))) == {"a.b", "c.d", "g", "i", "j"}
    assert set(imports(ast.parse(code), inside_functions=False)) == {"a.b", "c.d", "j"}
    assert set(LIGHT) | set(COMMANDS) <= set(MODULES)
    assert len(MODULES) > 25
    assert "q1net_core.jpeg" in arrows("q1net_core")["q1net_core.estimator"]
    assert room_of("q1net_core.jpeg.tables") == room_of("q1net_core.jpeg") == "q1net_core.jpeg"
    with pytest.raises(CycleError):
        floors({"a": {"b"}, "b": {"c"}, "c": {"a"}})


@pytest.mark.parametrize("module", LIGHT)
def test_the_core_knows_no_frameworks(module: str) -> None:
    assert packages(module).isdisjoint(HEAVY | {"PIL"} if module in STANDARD_OR_NUMPY_ONLY else HEAVY)


def test_records_and_errors_stand_on_their_own() -> None:
    assert packages("q1net_core.arrays") == {"numpy"}
    assert packages("q1net_core.records") <= {"dataclasses", "datetime", "enum", "q1net_core"}
    core = {name for name in imported("q1net_core.records") if name.startswith("q1net_core")}
    assert all(name.startswith("q1net_core.arrays.") for name in core)
    assert imported("q1net_core.errors") == {"q1net_core.records.Status"}


def test_pillow_is_the_only_decoder_of_images_but_for_ordinary_jpeg() -> None:
    assert importers("simplejpeg") == {"q1net_core.images.decode"}
    assert all(packages(module).isdisjoint(DECODERS) for module in MODULES)
    calls = ("decode_image", "decode_jpeg", "decode_png", "image_dataset_from_directory", "load_img", "imread")
    calling = {name for name, path in MODULES.items() if any(call in path.read_text() for call in calls)}
    assert calling == {"q1net_core.images.decode"}
    # Q1Net and the lattice see the pixels of one module; video frames are pixels that a codec made, never an input.
    assert importers("av") == {"q1net_core.codecs.video"}
    judges = {"q1net_core.estimator", "q1net_core.lattice.grid", "q1net_core.lattice.estimate", "pipelines.transforms"}
    assert all("PIL" not in packages(module) for module in judges)
    assert "q1net_core.images.decode.decode" in imported("q1net_core.estimator")


def test_only_storage_knows_fsspec() -> None:
    assert importers("fsspec") == {"q1net_core.storage"}
    stores = {"s3fs", "gcsfs", "boto3", "google"}
    assert {module for module in MODULES if packages(module) & stores} == set()


def test_keras_is_for_models_and_training() -> None:
    core = {module for module in MODULES if module.startswith("q1net_core")}
    assert core & importers("keras") == BUILDERS | {"q1net_core.network.predictor", "q1net_core.network.restorer"}
    assert core & importers("keras", inside_functions=False) == BUILDERS
    assert core & (importers("tensorflow") | importers("jax")) == {"q1net_core.network.predictor"}
    for framework in FRAMEWORKS:
        at_the_top = importers(framework, inside_functions=False)
        assert not any(module.startswith("pipelines") for module in at_the_top)


def test_the_model_is_loaded_lazily_by_whoever_needs_no_keras() -> None:
    for module in MODULES:
        if not module.startswith("training") and module not in BUILDERS:
            top = imported(module, inside_functions=False)
            assert not any(name.startswith((*BUILDERS, "training")) for name in top), module


def test_beam_is_for_pipelines_and_arrow_for_tables_and_shards() -> None:
    assert {module.partition(".")[0] for module in importers("apache_beam")} == {"pipelines"}
    assert {module.partition(".")[0] for module in importers("pyarrow")} == {"pipelines", "training"}
    of_training = {module for module in importers("pyarrow") if module.startswith("training")}
    assert of_training == {"training.data.shards", "training.studies.ablations"}


def test_training_and_pipelines_do_not_know_each_other() -> None:
    assert not any(module.startswith("training") for module in importers("pipelines"))
    assert not any(module.startswith("pipelines") for module in importers("training"))
    naming = {module for module, path in MODULES.items() if '"training.' in path.read_text()}
    assert naming == {"pipelines.boost.command", "pipelines.cli"}


@pytest.mark.parametrize("room", arrows("q1net_core"))
def test_a_room_of_the_core_knows_only_its_layer_and_those_below(room: str) -> None:
    assert room in LAYER, f"{room} has no layer yet: add it to CORE"
    assert {other for other in arrows("q1net_core")[room] if LAYER[other] > LAYER[room]} == set()


def test_nothing_imports_in_a_circle() -> None:
    list(TopologicalSorter({module: modules_of(module) for module in MODULES}).static_order())
    assert all(floors(arrows(package)) > 1 for package in ("q1net_core", "pipelines", "training"))


def test_audit_shards_and_evaluation_do_not_know_each_other() -> None:
    assert {(room, other) for room in APART for other in arrows("pipelines")[room] & APART} == set()


def test_the_core_knows_nobody_above_it() -> None:
    above = importers("pipelines") | importers("training")
    assert not any(module.startswith("q1net_core") for module in above)


def test_commands_do_not_know_each_other() -> None:
    for module in COMMANDS:
        others = {other for other in COMMANDS if other != module}
        names = imported(module)
        assert names.isdisjoint(others)
        assert not any(name.startswith(f"{other}.") for name in names for other in others)


def test_pipelines_keep_their_annotations() -> None:
    # Beam reads them at run time; as strings they would turn off its type checks.
    for module in MODULES:
        if module.startswith("pipelines"):
            assert not any(name.startswith("__future__") for name in imported(module)), module


def test_nobody_unpickles() -> None:
    # A weights file, an image or a run that somebody sent must not be able to run code.
    picklers = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    # Shards on their way through a temporary file of the very process that reads it.
    assert {module for module in MODULES if packages(module) & picklers} == {"pipelines.shards.shuffle"}
    unsafe = ("allow_pickle=True", "safe_mode=False", "weights_only=False", "enable_unsafe_deserialization")
    assert [name for name, path in MODULES.items() if any(word in path.read_text() for word in unsafe)] == []
