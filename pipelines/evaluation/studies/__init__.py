"""The studies of `q1net evaluate`: each has a module, and a name in the line below."""

from pipelines.evaluation.studies import ablations, comparison, confusions, levels, photoshop, stress, video

# By name; the first is the default.
STUDIES = {
    study.name: study
    for study in (
        levels.STUDY,
        comparison.TABLE2,
        ablations.STUDY,
        comparison.TABLE4,
        confusions.STUDY,
        photoshop.STUDY,
        stress.STUDY,
        *video.VIDEO_STUDIES,
    )
}
