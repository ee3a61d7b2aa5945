"""The dataset of `q1net shards` as one PTransform, for pipelines of other people and for Beam YAML."""

from functools import cached_property
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from pipelines.inputs import ReadInputs
from pipelines.shards.config import ShardsConfig
from pipelines.shards.dataset import Shard, commit_dataset, write_shard
from pipelines.shards.images import read_sources
from pipelines.shards.plan import Corpus, Plan, list_corpus, make_work, plan_shards
from pipelines.shards.rows import cut_rows
from pipelines.shards.survey import SurveyImages
from q1net_core import storage


class MakeShards(beam.PTransform):
    """Lossless images -> training shards of patches at every level; the one output element is dataset.json's uri.

    Both passes are steps of one job, and rows go through the engine's own shuffle: on one machine the command
    `q1net shards` needs less memory. The images are listed when the transform becomes part of a pipeline.

    Args:
        images: folder, file or glob.
        output: folder that gets the dataset; it must not have one.
        settings: any other fields of ShardsConfig.

    Raises:
        ConfigError: at construction, when it becomes part of a pipeline, or in the job if an image cannot be used.
    """

    def __init__(self, *, images: str, output: str, **settings: Any) -> None:
        super().__init__()
        levels = tuple(settings.pop("levels", ()))
        self.config = ShardsConfig(images, output, levels=levels, **settings)

    @cached_property
    def corpus(self) -> Corpus:
        """The images, listed once."""
        return list_corpus(self.config)

    def expand(self, root: Any) -> beam.PCollection[str]:
        """One output."""
        config, corpus = self.config, self.corpus
        work = make_work(config, corpus.images, local=False)
        once = root.pipeline | "Once" >> beam.Create([None])
        inputs = root.pipeline | "InputFiles" >> beam.Create(corpus.files) | "Inputs" >> ReadInputs()
        surveyed = inputs | "Survey" >> SurveyImages(config, corpus.images, work)
        plan = once | "Plan" >> beam.Map(plan_after, AsList(surveyed), config, corpus)
        images = AsSingleton(plan | "Images" >> beam.Map(lambda plan: plan.images))
        shards = (
            plan
            | "Files" >> beam.FlatMap(lambda plan: plan.files)
            | "ReadSources" >> beam.FlatMap(read_sources)
            | "Spread" >> beam.Reshuffle()
            | "CutRows" >> beam.FlatMap(cut_rows, work, images, config)
            | "ByShard" >> beam.GroupByKey()
            | "WriteShard" >> beam.Map(write_shard, images, config)
        )
        return once | "Commit" >> beam.Map(commit, AsList(shards), AsSingleton(plan), config, work)


def plan_after(_: None, _surveyed: list[str], config: ShardsConfig, corpus: Corpus) -> Plan:
    """What the second pass does, once the first one's files are written."""
    return plan_shards(config, corpus)


def commit(_: None, shards: list[Shard], plan: Plan, config: ShardsConfig, work: str) -> str:
    """Write dataset.json and let go of what the passes handed on; returns its uri."""
    uri = commit_dataset(None, shards, plan.images, plan.screened, config)
    storage.remove(work)
    return uri
