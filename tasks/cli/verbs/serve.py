"""``serve``: exported models as a service, with a page to drop a scan on; ``scansuite serve`` takes those of any."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.cli.logs import configure_logs
from tasks.cli.verb_parser import VerbParser
from tasks.registry.flag import Flag, OwnFlags
from tasks.serving.dicom_settings import DicomSettings, read_peers
from tasks.serving.settings import MIB, RequestLimits, ServeSettings

log = logging.getLogger(__name__)

OWN_FLAGS: OwnFlags = {
    "model": Flag("ONNX file or package of export; or a folder of such, each served by its file's name", needed=True),
    "host": Flag("address to listen on; any but this machine's own wants --token", str, "127.0.0.1"),
    "port": Flag("port to listen on; 0: a free one", int, 8000),
    "token": Flag("secret of at least 8 characters that callers must send; left out: none is asked for", str | None),
    "token_file": Flag("file with that secret, which a list of processes does not show; left out: none", str | None),
    "without_token": Flag("listen beyond this machine without a token", bool, False),
    "trust": Flag("public key (PEM) whose signature a package must bear; left out: any is served", str | None),
    "workers": Flag("processes that run the models", int, 2),
    "threads": Flag("threads of each run; left out: the cores of this machine shared by the workers", int | None),
    "max_request": Flag("largest request, in MiB", int, 512),
    "max_unpacked": Flag("largest size of a zip's files together, unpacked, in MiB", int, 2048),
    "max_members": Flag("most files of a zip or of a request", int, 5000),
    "max_pixels": Flag(
        "largest height times width of an image, slice or page, in pixels", int, RequestLimits.max_pixels
    ),
    "max_seconds": Flag("longest time that a request may arrive, wait and compute, each, in seconds", float, 120.0),
    "max_queue": Flag("most requests at a time; further ones are asked to come again", int, 64),
    "window": Flag(
        "for scans with physical values and a model that has no scale for them: a name, or CENTRE:WIDTH; left out: "
        "they are refused",
        str | None,
    ),
    "dicom_port": Flag("port to listen on for DICOM (C-STORE, C-ECHO); 0: a free one; left out: none", int | None),
    "ae_title": Flag("AE title of this application", str, "SCANSUITE"),
    "accept": Flag("AE titles that may send; left out: any, from this machine alone", several=True),
    "send": Flag("where results go as DICOM: HOST:PORT:AE_TITLE; left out: nowhere", several=True),
    "dicom_objects": Flag(
        "kinds of results as DICOM: seg sr sc gsps pdf (see predict --dicom); left out: sr, and seg of masks",
        several=True,
    ),
    "dicom_model": Flag("model that predicts what comes as DICOM; left out: the only one that is served", str | None),
    "dicom_wait": Flag("seconds without a new image after which a series is taken as whole", float, 5.0),
    "keep": Flag("folder to keep requests and their results in; left out: nothing is kept", str | None),
}


def run(task: str, argv: Sequence[str]) -> int:
    """Serve models of a task.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0, once a signal has ended it.
    """
    configure_logs()
    return serve_models(VerbParser(task, "serve", argv, own_flags=OWN_FLAGS, builds=False).config, task)


def serve_models(config: Mapping[str, Any], task: str | None) -> int:
    """Serve models until a signal ends it.

    Args:
        config: values of :data:`OWN_FLAGS`.
        task: that all models must be of; None: any.

    Returns:
        0.

    Raises:
        SuiteError: a flag is wrong, a model cannot be opened, or is of another task.
    """
    if not config["model"]:
        raise SuiteError("--model: name an ONNX file or a package of export, or a folder of such")
    settings = _settings(config, task)
    from tasks.serving.server import find_models, serve

    models = find_models(str(config["model"]))

    def ready(address: str, names: Sequence[str]) -> None:
        said = "" if settings.token is None else ", with the token"
        print(f"serving {', '.join(names)} at {address}{said}; Ctrl-C ends it", flush=True)
        if settings.keep is not None:
            log.info("requests and their results are kept in %s", settings.keep)

    log.info("starting %s of %s", number_of(settings.workers, "worker"), number_of(len(models), "model"))
    serve(models, settings, ready)
    return 0


def _settings(config: Mapping[str, Any], task: str | None) -> ServeSettings:
    keep = None if config["keep"] is None else Path(config["keep"])
    limits = RequestLimits(
        max_request=config["max_request"] * MIB,
        max_unpacked=config["max_unpacked"] * MIB,
        max_members=config["max_members"],
        max_seconds=config["max_seconds"],
        max_queue=config["max_queue"],
        max_pixels=config["max_pixels"],
        window=config["window"],
    )
    settings = ServeSettings(
        host=config["host"],
        port=config["port"],
        token=_token(config["token"], config["token_file"]),
        without_token=bool(config["without_token"]),
        workers=config["workers"],
        threads=config["threads"],
        keep=keep,
        trust=None if config["trust"] is None else Path(config["trust"]),
        task=task,
        dicom=_dicom(config),
        limits=limits,
    )
    if keep is not None:
        try:
            keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SuiteError(f"--keep {keep}: the folder cannot be made ({error.strerror})") from None
        if not os.access(keep, os.W_OK | os.X_OK):
            raise SuiteError(f"--keep {keep}: cannot be written to")
    return settings


def _dicom(config: Mapping[str, Any]) -> DicomSettings | None:
    if config["dicom_port"] is None:
        for name in ("send", "accept", "dicom_objects", "dicom_model"):
            if config[name]:
                raise SuiteError(f"--{name}: is about DICOM over the network: give --dicom_port too")
        return None
    if config["dicom_objects"]:
        from tasks.deployment.dicom.writer import kinds_of

        kinds_of(config["dicom_objects"])  # refuses what is none
    return DicomSettings(
        port=config["dicom_port"],
        title=config["ae_title"],
        send=read_peers(config["send"]),
        accept=tuple(config["accept"]),
        wait=config["dicom_wait"],
        kinds=tuple(config["dicom_objects"]),
        model=config["dicom_model"],
    )


def _token(given: str | None, file: str | None) -> str | None:
    if file is None:
        return given
    if given is not None:
        raise SuiteError("--token and --token_file: give one of the two")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SuiteError(f"--token_file {file}: cannot be read as text") from None
