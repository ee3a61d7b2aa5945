"""What the server of worker processes imports first: Beam's notices would be printed while it imports the rest."""

from pipelines.runtime.quiet import drop_beam_notices

drop_beam_notices()
