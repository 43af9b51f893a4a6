"""One trial inside its process: from a request to an attempt's `done.json`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.core.teaching import Taught
from ablate.core.trial import Numerics, Trial
from ablate.errors import (
    AblateError,
    DiskFull,
    Diverged,
    Interrupted,
    NoEffect,
    brief,
    text_of,
)
from ablate.execution import resume
from ablate.execution.environment import environment, machine
from ablate.store import log_file
from ablate.store.attempt_writer import Attempt
from ablate.store.lease import holds
from ablate.tricks.construct import construct
from ablate.util import beneath, heartbeat, own_code
from ablate.util.devices import cpu_name

if TYPE_CHECKING:
    from torch import nn

    from ablate.core.hook_types import Augmentation, Run
    from ablate.data.loader import TrialData
    from ablate.execution.resume import Saved
    from ablate.tricks.base import Trick

Emit = Callable[..., None]
log = logging.getLogger("ablate.trial")
_TAKEN = "another ablate run has taken this trial over"


def preload() -> None:
    """Import what every trial needs, and do nothing else."""
    import torchvision  # noqa: F401 - imported for its children

    import ablate.baseline
    import ablate.data.arrays
    import ablate.data.cache
    import ablate.engine.checkpoint
    import ablate.engine.loop
    import ablate.execution.recorder
    import ablate.models.build
    import ablate.models.catalogue
    import ablate.models.cifar
    import ablate.models.init
    import ablate.stats
    import ablate.tricks.fingerprint  # noqa: F401 - imported for its children
    from ablate.tricks import discovery

    discovery.remember()
    machine()
    cpu_name()


def run(request: dict[str, Any], emit: Emit, stopped: Callable[[], bool]) -> str:
    """Train the requested trial; returns the status that was written.

    request: id, trial (Trial as JSON), store, data_root, device, no_plugins, shared_device,
    teacher (of the trial, as JSON; left out: it has none),
    keep_weights (another trial learns from this one), macs (its cost, only to be recorded),
    profile (whether to write where the time went; left out: no), claim (the token of the claim on
    the trial; left out: nobody else can train it), store_identity (what tells the store from
    another in its place; left out: nobody moves it), slot (its place on the runner's board; left
    out: none). A trial that another run took over, because it could think this one dead, does not
    end as done: it would be trained to the end twice.
    """
    with own_code.without_plugins(request["no_plugins"]):
        return _run(request, emit, stopped)


def _run(request: dict[str, Any], emit: Emit, stopped: Callable[[], bool]) -> str:
    pid = os.getpid()
    heartbeat.here.begin(request.get("slot", 0))
    trial = Trial.model_validate(request["trial"])
    store = Path(request["store"])
    held = _held(store, request.get("store_identity"))
    if held is None:  # the runner sees it, too, and says so
        emit("ended", id=request["id"], status="interrupted", message="the store is gone")
        return "interrupted"
    saved, told = resume.newest(store, trial)
    attempt = Attempt.begin(store, trial.key, continues=saved.attempt if saved else None)
    heartbeat.here.attempt(attempt.name)
    began = time.time()
    summary: dict[str, Any] = {"began": began}
    with _logging_to(attempt.path):
        for line in told:
            log.warning("%s", line)
        try:
            if not _is_ours(request, store, trial.key):
                raise Interrupted(_TAKEN)
            train = partial(_train, request, trial, attempt, emit, stopped)
            summary |= _train_from(saved, train, store, trial, attempt)
            said = _compiled_too_often(summary), _of_its_teacher(trial, summary)
            status, message = "done", "; ".join(filter(None, said))
        except Interrupted as reason:
            status, message = "interrupted", str(reason) or "stopped on request"
        except Diverged as error:
            status, message = "diverged", str(error)
        except NoEffect as error:
            status, message = "no_effect", error.message
        except BaseException as error:  # noqa: BLE001 - whatever ends a trial is its status
            status, message = _failure(error, trial.recipe.batch_size)
            log.error("%s", "".join(traceback.format_exception(error)))
        if os.getpid() != pid:  # a child that a trick forked, which has come this way too
            os._exit(70)
        if status != "interrupted" and not _is_ours(request, store, trial.key):
            status, message = "interrupted", _TAKEN
        log.info("%s after %.0f s%s", status, time.time() - began, message and f": {message}")
        try:
            if status == "interrupted":
                attempt.close()  # not finished: the next run continues it
            else:
                attempt.finish(status, message, **summary)
        except (AblateError, OSError) as error:  # a full disk; or a trick has removed the folder
            why = error.message if isinstance(error, AblateError) else brief(error)
            more = f", after: {message}" if message else ""
            message = f"its ending cannot be written: {why}{more}"
            if beneath.kind(attempt.path) is None:
                message = f"its folder was removed while it was trained: {attempt.path}"
            status = "failed"
            log.error("%s", message)
    emit("ended", id=request["id"], status=status, message=message, attempt=attempt.name)
    return status


def _held(store: Path, identity: list[int] | None) -> beneath.Root | None:
    """The store, held open; None where it is gone, or another is in its place."""
    try:
        root = beneath.hold(store)
    except OSError:
        return None
    return root if identity is None or root.identity == tuple(identity) else None


def _is_ours(request: dict[str, Any], store: Path, key: str) -> bool:
    token = request.get("claim")
    return token is None or holds(store, key, token)


def set_numerics(numerics: Numerics) -> None:
    """Torch's global switches as this trial's numerics profile wants them."""
    import torch

    if numerics.compiled:
        preload_compiler()
    torch.set_num_threads(numerics.threads)
    torch.backends.cuda.matmul.allow_tf32 = numerics.tf32
    torch.backends.cudnn.allow_tf32 = numerics.tf32
    torch.backends.cudnn.benchmark = not numerics.deterministic
    torch.backends.cudnn.deterministic = numerics.deterministic
    # cuBLAS is deterministic only with a fixed workspace; the runner sets CUBLAS_WORKSPACE_CONFIG.
    torch.use_deterministic_algorithms(numerics.deterministic)


def place_compiler(device: str) -> None:
    """Where torch's compiler keeps its files: to be said before torchvision is imported."""
    import hashlib

    from ablate.util.package_metadata import version_of
    from ablate.util.paths import compiled_root, user_cache
    from ablate.util.shared import private_folder

    # What is compiled on one processor may not run on another.
    processor = hashlib.sha256(cpu_name().encode()).hexdigest()[:8]
    name = f"torch-{version_of('torch')}-{processor}"
    folder = private_folder(compiled_root() / name, user_cache() / "compiled" / name)
    # Importing torchvision sets torch's default, which who started us may have passed on.
    default = "torchinductor_"
    if Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR", default)).name.startswith(default):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    if device == "cpu":  # a trial has one core
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")


def preload_compiler() -> None:
    """Import what compiled trials need."""
    from ablate.engine import compiled
    from ablate.util.devices import sign_of_gpu

    compiled.prepare()
    if not sign_of_gpu():  # it would open the GPU, which no fork survives
        import torch

        # Half a second of reading Triton's files, once; not in every release.
        with contextlib.suppress(AttributeError):
            torch._inductor.codecache.CacheBase.get_system()


def collect(device: str) -> None:
    """Free what a trial held on its device: the loop's closures are cycles."""
    import gc

    import torch

    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()


def _train_from(
    saved: Saved | None,
    train: Callable[[Saved | None], dict[str, Any]],
    store: Path,
    trial: Trial,
    attempt: Attempt,
) -> dict[str, Any]:
    """`train(saved)`; a checkpoint that does not fit the model is left for the one before it."""
    from ablate.engine.checkpoint import Unusable

    passing: list[Path] = []
    while True:
        try:
            return train(saved)
        except Unusable as error:
            assert saved is not None
            log.warning("%s cannot be used and is not: %s", saved.path, error)
            passing.append(saved.path)
            saved, _ = resume.newest(store, trial, passing)
            attempt.continues = saved.attempt if saved else None
            if saved is None:
                log.info("no other checkpoint is left: trains from the first epoch on")


def _train(
    request: dict[str, Any],
    trial: Trial,
    attempt: Attempt,
    emit: Emit,
    stopped: Callable[[], bool],
    saved: Saved | None,
) -> dict[str, Any]:
    """Train on from what was saved; returns what the report wants to know besides the metrics."""
    import torch

    from ablate.data.cache import open_cache
    from ablate.data.loader import open_data
    from ablate.engine import compiled, pretrained
    from ablate.engine.loop import train
    from ablate.execution.recorder import Followed, Recorder

    device = torch.device(request["device"])
    set_numerics(trial.numerics)
    profiled = bool(request.get("profile"))
    recorded = environment(device, trial, shared=request["shared_device"], profiled=profiled)
    attempt.save_environment(recorded)
    watch = None
    if profiled:
        from ablate.engine.profiler import Watch

        watch = Watch(device)
    tricks = construct(trial.tricks, bundled_only=request["no_plugins"])
    log.info("%s · %s", device, " ".join(f"{t.name}({_params(t)})" for t in tricks) or "baseline")
    root = request["data_root"]
    cached = open_cache(trial.dataset, Path(root) if root else None)
    teacher = None
    if trial.teacher is not None:
        from ablate.execution.teacher import load

        learned_from = Trial.model_validate(request["teacher"])
        teacher = load(Path(request["store"]), learned_from, device, trial.numerics)
    recorder = Recorder(request, trial, attempt, emit, stopped, cached.eval.ids, saved)
    graphs = compiled.count()
    pretrained.forget()
    data: list[TrialData] = []

    def opened(augmentations: Sequence[Augmentation]) -> TrialData:
        images = open_data(
            cached,
            trial.recipe,
            augmentations,
            trial.seed,
            device,
            channels_last=trial.numerics.channels_last,
        )
        followed: Any = Followed(images)
        data.append(followed)
        return followed if watch is None else watch.data(followed)  # type: ignore[no-any-return]

    try:
        with recorder:
            run = train(
                trial,
                tricks,
                opened,
                device,
                recorder if watch is None else watch.recorder(recorder),
                teacher,
                watch,
            )
        compiled_graphs = graphs.summary() if trial.numerics.compiled else {}
        learned = _taught(teacher, data[-1], run, cached.identity.classes)
    finally:
        pretrained.forget()
        if watch is not None:
            watch.write(attempt.path, trial.key, recorded["device_name"])
    # with the numbers, so that a report needs no trick to read them
    measures = [metric.document() for trick in tricks for metric in trick.measures]
    return (compiled_graphs | learned | ({"measures": measures} if measures else {})) | {
        "examples": len(cached.eval.ids),
        "precision": run.precision.dtype,
        "parameters": sum(p.numel() for p in run.model.parameters() if p.requires_grad),
        "macs": request.get("macs"),
    }


def _taught(
    teacher: nn.Module | None, data: TrialData, run: Run, classes: Sequence[str]
) -> dict[str, Any]:
    """How good the teacher is, for the record of the trial that learned from it; {} without one."""
    from ablate.engine import pretrained

    found = [*([] if teacher is None else [teacher]), *pretrained.loaded()]
    if not found:
        return {}
    from ablate.execution.teacher import measure

    known = measure(found[0], data, run.precision, run.device, classes)
    if known is None:
        return {}
    log.info("the teacher's top-1 on the evaluation images: %.4f", known.top1)
    if warning := known.warning(trained=teacher is not None):
        log.warning("%s", warning)
    return known.summary()


def _params(trick: Trick) -> str:
    return ", ".join(f"{k}={v}" for k, v in trick.model_dump(mode="json").items())


def _failure(error: BaseException, batch_size: int) -> tuple[str, str]:
    """(status, message) of an exception, out of memory looked for through its causes."""
    import torch

    message = error.message if isinstance(error, AblateError) else ""
    when = heartbeat.here.place.when
    place = f" ({when})" if when else ""
    cause, seen = error, set[int]()
    while id(cause) not in seen:
        seen.add(id(cause))
        text = text_of(cause)
        if isinstance(cause, MemoryError | torch.OutOfMemoryError) or _says_memory(text):
            known = message or _first_line(text)
            return "oom", f"{known}{place}{'; ' if known or place else ''}{_smaller(batch_size)}"
        cause = cause.__cause__ or cause.__context__ or cause
    if isinstance(error, DiskFull):
        return "failed", f"{message}{place}; {error.hint}"
    return "failed", f"{message or brief(error)}{place}"


def _says_memory(text: str) -> bool:
    """Whether a library says in words that memory ran out: torch on a CPU, cuBLAS and cuDNN."""
    return any(
        words in text
        for words in ("allocate memory", "CUDA out of memory", "_ALLOC_FAILED", "bad_alloc")
    )


def _smaller(batch_size: int) -> str:
    if batch_size == 1:
        return "batch_size is 1 already: a smaller image_size or model takes less"
    return (
        f"batch_size is {batch_size}; --set recipe.batch_size={batch_size // 2} takes less "
        "(and trains every row anew)"
    )


def _compiled_too_often(summary: dict[str, Any]) -> str:
    """What to say of graphs that were made again although nothing that decides them differs."""
    more = summary.get("recompiled", 0)
    return f"{more} graphs compiled beyond the {summary['graphs']} that differ" if more else ""


def _of_its_teacher(trial: Trial, summary: dict[str, Any]) -> str:
    """That the teacher is not good, and why; "" for a good one, or none."""
    known = Taught.read(summary)
    return known.warning(trained=trial.teacher is not None) if known else ""


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


class _logging_to:  # noqa: N801 - used as a function
    """Send the log, and whatever a library prints, to the trial's log file."""

    def __init__(self, attempt: Path) -> None:
        self._attempt = attempt

    def __enter__(self) -> None:
        self._saved = os.dup(1), os.dup(2)
        _flush()
        with log_file.opened(self._attempt) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        self._handler = logging.StreamHandler(sys.stderr)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(self._handler)
        log.setLevel(logging.INFO)

    def __exit__(self, *_: object) -> None:
        log.removeHandler(self._handler)
        _flush()
        for descriptor, saved in zip((1, 2), self._saved, strict=True):
            with contextlib.suppress(OSError):  # a trick has closed it
                os.dup2(saved, descriptor)
                os.close(saved)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads it any more, or its disk is full
            stream.flush()
