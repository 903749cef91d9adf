"""What one file may cost: pixels, memory, and the parts of large pictures that are looked at."""

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from provenance_samples import picture

from nonesuch.provenance.marking.drawn_image import MarkedFile
from nonesuch.provenance.pixels import WHOLE, Pixels
from nonesuch.provenance.verifying.allowance import Allowance, processor_time
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.provenance.verifying.verify import VerifyOptions
from nonesuch.provenance.verifying.worker_pool import verify_paths
from nonesuch.provenance.watermark import embed

pytestmark = pytest.mark.slow

PAYLOAD = 0x0123456789ABCDEF


def encoded(pixels: np.ndarray, format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, quality=90)
    return file.getvalue()


def test_a_large_picture_is_searched_in_its_middle_and_compared_at_a_smaller_size(
    ask: Callable[..., Verdict],
) -> None:
    tile = embed(np.tile(picture(1, 512), (2, 2, 1)), PAYLOAD)
    large = np.tile(tile, (5, 4, 1))  # 5120 × 4096
    data = encoded(large)
    pixels = Pixels(data, "x")
    middle, view = pixels.rgb(), pixels.view()
    assert middle is not None
    assert view is not None
    assert middle.shape[0] * middle.shape[1] <= WHOLE
    assert view.shape == (2560, 2048, 3)
    assert pixels.rgba() is None
    verdict = ask(data)
    assert verdict.watermark is not None
    assert verdict.watermark["payload"] == f"{PAYLOAD:016x}"


@pytest.mark.parametrize("shape", [(20, 900_000), (900_000, 20), (4100, 4000)])
def test_long_strips_stay_within_the_limit(shape: tuple[int, int]) -> None:
    flat = np.zeros((*shape, 1), np.uint8).repeat(3, 2)
    pixels = Pixels(encoded(flat, "PNG"), "x")
    middle = pixels.rgb()
    assert middle is not None
    assert 0.9 * WHOLE < middle.shape[0] * middle.shape[1] <= WHOLE


def test_a_picture_over_the_limit_still_has_its_credential(
    marked: dict[str, MarkedFile], ask: Callable[..., Verdict]
) -> None:
    verdict = ask(marked["png"].data, max_pixels=1000)
    assert "the limit is 1,000 pixels" in str(verdict.error)
    assert (verdict.verdict, verdict.confidence, verdict.watermark) == ("ai-generated", "proven", None)


def test_a_process_holds_no_more_than_it_may() -> None:
    script = (
        "import numpy as np\n"
        "from nonesuch.provenance.verifying.worker import limit_memory\n"
        "np.ones(1 << 20)\n"
        "limit_memory(400 << 20)\n"
        "np.ones(12 << 20)\n"  # 96 MB
        "try:\n"
        "    np.ones(64 << 20)\n"  # 512 MB
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


@pytest.mark.slow
def test_a_single_file_is_stopped_too(tmp_path: Path) -> None:
    path = tmp_path / "slow.jpg"
    path.write_bytes(encoded(picture(1)))
    options = VerifyOptions(home=tmp_path, catalog=Sleeper())
    (verdict,) = verify_paths([path], options=options, seconds=2)
    assert verdict.error == "took longer than 2 s; the catalog was not searched to the end"


def test_a_process_that_waits_for_a_core_is_told_from_one_that_hangs() -> None:
    spinning, sleeping = (
        subprocess.Popen([sys.executable, "-c", code])
        for code in ("while True: pass", "import time; time.sleep(3600)")
    )
    try:
        while processor_time(spinning.pid)[0] < 0.3:
            time.sleep(0.05)
        assert processor_time(spinning.pid)[1]
        while processor_time(sleeping.pid)[1]:
            time.sleep(0.05)
    finally:
        for process in (spinning, sleeping):
            process.kill()
            process.wait()
    assert processor_time(spinning.pid) == (0.0, False)


def test_a_process_is_given_up_for_its_own_time_or_for_doing_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        while processor_time(child.pid)[0] < 0.3:
            time.sleep(0.05)
        long, short = Allowance(child.pid, 3600), Allowance(child.pid, 0.2)
        while short.over() is None:
            time.sleep(0.02)
        child.send_signal(signal.SIGSTOP)
        halted = Allowance(child.pid, 0.5)  # it neither has processor time nor waits for it
        while (why := halted.over()) is None:
            time.sleep(0.02)
        assert why == "took longer than 0.5 s"
        assert long.over() is None
    finally:
        child.kill()
        child.wait()


class Sleeper:
    """A catalog that never answers."""

    def by_digest(self, sha256: str) -> None:
        import time

        time.sleep(3600)
