"""Sealed studies: an experiment in one archive that anybody can recompute without a key. A shell.

`seal` writes the archive, `verify` checks and recomputes it. `listed` is what an archive says of itself, `packing` what
is put into it, `canaries` what must not be, `archive` how it is written and safely read, `unpacking` how it becomes a
folder again, `comparing` what a recomputed run is held against.
"""

from populace.experiments.sealing.listed import Seal
from populace.experiments.sealing.packing import seal
from populace.experiments.sealing.verifying import Verified, verify

__all__ = ["Seal", "Verified", "seal", "verify"]
