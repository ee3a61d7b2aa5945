"""What a command looks at: files, folders, globs, URLs, archives and manifests -> a list of inputs, kept in the run."""

from pipelines.inputs.groups import assign_group, group_by
from pipelines.inputs.kept import ReadInputs, SpreadInputs, read_inputs, take_turns, write_inputs
from pipelines.inputs.manifests import read_manifest
from pipelines.inputs.patterns import list_inputs

__all__ = [
    "ReadInputs",
    "SpreadInputs",
    "assign_group",
    "group_by",
    "list_inputs",
    "read_inputs",
    "read_manifest",
    "take_turns",
    "write_inputs",
]
