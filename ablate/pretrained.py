"""Old name of `ablate.engine.pretrained`; a loose trick that imports it is keyed by its text."""

from ablate.engine.pretrained import *  # noqa: F403
from ablate.engine.pretrained import check_teacher as check_file  # noqa: F401
from ablate.engine.pretrained import load_teacher as load_file  # noqa: F401
