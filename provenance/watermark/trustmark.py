"""TrustMark, the watermark on C2PA's list of soft-binding algorithms, through its own package.

Bui, Agarwal and Collomosse, TrustMark, arXiv 2311.18297: an encoder and a decoder network, variant P.
64 bits fit the package's BCH_4 scheme: 68 bits, of which the last four stay 0, and 28 that correct four errors.
The package fetches missing weights by itself; here it is not loaded until they are on disk and right, in the
folder that NONESUCH_TRUSTMARK names, else where the package keeps them.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import DependencyError, InputError
from nonesuch.provenance.watermark.base import Found

NAME = "com.adobe.trustmark.P"
PACKAGE = "trustmark"
FOLDER_VARIABLE = "NONESUCH_TRUSTMARK"  # the environment variable that names the folder of the weights
# MD5 is what the package's authors publish for these files (version 0.9.2). It tells damage and other versions;
# the tensors are read with torch's weights_only, which runs nothing that a forged file may hold.
WEIGHTS: Mapping[str, str] = {
    "trustmark_P.yaml": "fe40df84a7feeebfceb7a7678d7e6ec6",
    "encoder_P.ckpt": "0a18f6de6d57c6ef7dda30ce6154a775",
    "decoder_P.ckpt": "9450972bc0c3c217cb7b8220dd2f7a3c",
}
_BITS, _SPARE = 64, 4
_SCHEME = 2  # BCH_4, as soft bindings write it
_CODE_BITS, _CHECK_BITS, _CORRECTED = 96, 28, 4
_SCHEME_BITS = 2  # of the packet's version that decoding looks at
# of random packets: the right scheme, within reach of a codeword, spare bits all 0
FALSE_ALARM = sum(comb(_CODE_BITS, n) for n in range(_CORRECTED + 1)) / 2.0 ** (
    _CHECK_BITS + _SCHEME_BITS + _SPARE
)

RGB = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TrustMark:
    """The package's networks, ready to mark and to read."""

    model: Any  # trustmark.TrustMark
    name: str = NAME

    def embed(self, image: RGB, payload: int) -> RGB:
        """A marked copy of uint8 [H, W, 3]. Raises InputError for a payload that is not 64 bits, unsigned."""
        from PIL import Image

        marked = self.model.encode(Image.fromarray(image), packed(payload), MODE="binary")
        return np.asarray(marked, dtype=np.uint8)

    def detect(self, image: RGB) -> Found | None:
        """What uint8 [H, W, 3] bears, or None; one unmarked image in five thousand seems to bear something."""
        from PIL import Image

        bits, present, version = self.model.decode(Image.fromarray(image), MODE="binary")
        payload = unpacked(bits) if present and version == self.model.enctyp else None
        return None if payload is None else Found(payload, FALSE_ALARM)


def packed(payload: int) -> str:
    """The 68 bits of "0" and "1" that bear `payload`: the payload, most significant bit first, then four zeros."""
    if not 0 <= payload < 1 << _BITS:
        raise InputError(f"watermark payload {payload} is out of range", hint="It holds 64 bits, unsigned.")
    return f"{payload:0{_BITS}b}" + "0" * _SPARE


def binding_value(payload: int) -> str:
    """The value of a C2PA soft binding as TrustMark's own tools write it: the scheme, an asterisk, the 68 bits."""
    return f"{_SCHEME}*{packed(payload)}"


def bound_payload(value: str) -> int | None:
    """The payload that a soft binding's value names, or None when it is none that `binding_value` gives."""
    scheme, _, bits = value.partition("*")
    return unpacked(bits) if scheme == str(_SCHEME) else None


def unpacked(bits: str) -> int | None:
    """The payload of 68 decoded bits, or None when they are none that `packed` gives."""
    if len(bits) != _BITS + _SPARE or not set(bits) <= {"0", "1"} or "1" in bits[_BITS:]:
        return None
    return int(bits[:_BITS], 2)


def open_trustmark() -> TrustMark:
    """TrustMark's networks on the CPU.

    Raises DependencyError when the package is missing or broken, or its weights are missing or wrong; nothing is
    ever fetched.
    """
    folder = weights_folder()
    if folder is None:
        raise DependencyError(
            "TrustMark needs the package trustmark",
            hint="Install it with: uv pip install 'nonesuch[trustmark]'",
        )
    check_weights(folder)
    try:
        package = importlib.import_module(PACKAGE)
        model = _reading(package.TrustMark, folder)(
            use_ECC=True,
            verbose=False,
            device="cpu",
            model_type="P",
            encoding_type=package.TrustMark.Encoding.BCH_4,
            loadRemover=False,
        )
    except Exception as error:  # another package's import and loading may raise anything
        raise DependencyError(
            f"the package trustmark can't be loaded: {error}",
            hint="Reinstall it: uv pip install --reinstall trustmark",
        ) from error
    return TrustMark(model)


def weights_folder() -> Path | None:
    """Where the weights are looked for; None when the package isn't installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).expanduser() if named else Path(found.origin).parent / "models"


def ready() -> bool:
    """Whether package and weights seem to be there; what is wrong with them `open_trustmark` says."""
    folder = weights_folder()
    return folder is not None and all((folder / name).is_file() for name in WEIGHTS)


def _reading(networks: Any, folder: Path) -> Any:
    # the package knows one folder, its own, and fetches what is not there
    class FromFolder(networks):  # type: ignore[misc]
        def check_and_download(self, filename: str) -> None:
            pass

        def load_model(self, config: str, weights: str, *others: Any, **named: Any) -> Any:
            places = [str(folder / Path(path).name) for path in (config, weights)]
            return super().load_model(*places, *others, **named)

    return FromFolder


def check_weights(folder: Path) -> None:
    """Raises DependencyError unless `folder` holds every file of variant P with its published digest."""
    missing = [name for name in WEIGHTS if not (folder / name).is_file()]
    if missing:
        raise DependencyError(
            f"TrustMark's weights are missing: {', '.join(missing)}",
            where=str(folder),
            hint='The package fetches them into its own folder: python -c "import trustmark; '
            "trustmark.TrustMark(model_type='P', loadRemover=False)\". Or copy them there, or name their folder in "
            f"{FOLDER_VARIABLE}.",
        )
    for name, digest in WEIGHTS.items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "md5").hexdigest() != digest:
                raise DependencyError(
                    "these are not TrustMark's weights: the digest differs from the published one",
                    where=str(folder / name),
                    hint="Remove the file and fetch it again; expected is version 0.9.2 of the package.",
                )
