#!/bin/sh
# The GPU rows of docs/performance.md, the most important first, in at most ten minutes.
#
#     benchmarks/gpu_rows.sh OUT [ROW…]
#
# A row is MODEL-SIDE (sd15-512, sdxl-1024, …) or "embedded". Each is a process of its own, so one that fails takes no
# other along; OUT gets ROW.json for each (filled while it runs) and rows.md with all tables. Rows for which no time is
# left are named: give them to a second call. Nothing is fetched.
#
# PYTHON    the interpreter of an environment with nonesuch's dependencies; .venv/bin/python by default
# PACKAGES  folder that holds invisible-watermark (docs/watermark.md); without it the plain script goes unmarked
# LIMIT     seconds for all rows, 570 by default;  ROW_LIMIT  for one, 240
# OPTIONS   further options of benchmarks.pipeline for every row, such as --eager or --tiny

out=${1:?where do the results go? benchmarks/gpu_rows.sh OUT [ROW…]}
shift
[ $# -gt 0 ] || set -- sd15-512 sdxl-1024 sd3-1024 sd15-1024 sdxl-512 sd3-512 embedded
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export NONESUCH_HOME="$work/home" NONESUCH_CACHE="$work/cache" PREFECT_HOME="$work/prefect" HF_HUB_OFFLINE=1
end=$(($(date +%s) + ${LIMIT:-570}))
failed=0
for row in "$@"; do
    # images: whole batches of each way; enough for some ten seconds on an H100
    case $row in
    embedded) sized="--images 512 --plain-images 32" ;;
    sd15-512) sized="--images 128 --plain-images 16" ;;
    sdxl-512 | sd3-512) sized="--images 64 --plain-images 8" ;;
    *) sized="--images 16 --plain-images 8" ;;
    esac
    model=${row%-*}
    [ "$row" = embedded ] || sized="$sized --side ${row##*-}"
    left=$((end - $(date +%s)))
    if [ "$left" -lt 30 ]; then
        echo "$row: no time left" | tee -a "$out/rows.md"
        failed=1
        continue
    fi
    [ "$left" -lt "${ROW_LIMIT:-240}" ] || left=${ROW_LIMIT:-240}
    printf '\n## %s\n\n' "$row" | tee -a "$out/rows.md"
    # shellcheck disable=SC2086
    if ! timeout "$left" "${PYTHON:-.venv/bin/python}" -u -m benchmarks.pipeline --model "$model" $sized --repeats 1 \
        --profile --weights "$work/weights" --json "$out/$row.json" ${PACKAGES:+--packages "$PACKAGES"} $OPTIONS \
        >"$work/table"; then
        echo "$row: stopped or failed; $row.json has what was measured until then" >>"$work/table"
        failed=1
    fi
    tee -a "$out/rows.md" <"$work/table"
done
exit $failed
