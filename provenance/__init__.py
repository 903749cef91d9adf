"""Where an image came from: watermark, XMP, credentials, keys, foreign metadata, verdicts.

`marking.mark_image` gives a drawn image its marks; `verify.verify_file` checks any image.
"""

from pathlib import Path
from typing import Any

from nonesuch.foundation.imported import when_imported


def _leave_out_the_folder(loading: Any) -> None:
    """Have c2pa load the native library that it brings along; it would look into the current folder first."""
    search = loading._get_possible_search_paths

    def own() -> list[Path]:
        package = Path(loading.__file__).parent
        return [path for path in search() if path.is_relative_to(package)]

    loading._get_possible_search_paths = own


when_imported("c2pa.lib", _leave_out_the_folder)
