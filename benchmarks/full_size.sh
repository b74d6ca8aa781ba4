#!/usr/bin/env bash
# Trains and scores the networks of full size, R50 on whole regions of 1024 px, x4, in bfloat16: the teacher, the
# student on LR alone from the teacher's weights, features_falling and the paper's four steps. Iterations are fixed,
# and chosen so that all of it should fit in 12 minutes of one large GPU; it has not been run on one yet.
#
#   benchmarks/full_size.sh                      # until it says "finished"; each call ends within LIMIT_S seconds
#   DEVICE=cpu ITERS=10 BATCH=1 benchmarks/full_size.sh MODEL.RESNETS.DEPTH 18 ...    # a proof without a GPU
#
# Finished steps are skipped, an interrupted one goes on at its checkpoint. Exit status: 0 finished, 75 call again.
# OUT/full_size.json has for each row its scores, seconds, and seconds of an iteration that were waited for data.
# Further KEY VALUE arguments go to every training.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-output/full_size} DEVICE=${DEVICE:-cuda} LIMIT_S=${LIMIT_S:-520} BATCH=${BATCH:-8} ITERS=${ITERS:-}
CONFIG=${CONFIG:-KidneyROI/mhkd_R50_FPN.yaml} PY=${PY:-.venv/bin/python}
WORKERS=${WORKERS:-$(($(nproc) > 16 ? 15 : $(nproc) - 1))}
TEACHER_ITERS=${ITERS:-600} STUDENT_ITERS=${ITERS:-400}
started=$SECONDS

train() { # <folder> <KEY VALUE ...>: what is missing of one training, in the time that is left
  local left=$((LIMIT_S - (SECONDS - started))) status folder=$1
  shift
  [ "$left" -gt 20 ] || { echo "full_size: time is up before $folder: call again"; exit 75; }
  timeout -k 10 "$left" "$PY" -m mhkd train --config-file "$CONFIG" --resume \
    OUTPUT_DIR "$OUT/$folder" MODEL.DEVICE "$DEVICE" SOLVER.AMP.ENABLED True SOLVER.IMS_PER_BATCH "$BATCH" \
    SOLVER.BASE_LR 0.01 SOLVER.WARMUP_ITERS 50 SOLVER.CHECKPOINT_PERIOD 100 DATALOADER.NUM_WORKERS "$WORKERS" \
    MHKD.TEACHER_ITERS "$TEACHER_ITERS" MHKD.STUDENT_ITERS "$STUDENT_ITERS" "$@"
  status=$?
  if [ $status -eq 124 ] || [ $status -eq 137 ]; then
    echo "full_size: time is up in $folder: call again, it goes on at its checkpoint"
    exit 75
  fi
  [ $status -eq 0 ] || exit $status
}

train teacher MHKD.SCHEDULE none_from_teacher MHKD.STAGE 0 "$@"
for schedule in none_from_teacher features_falling mhkd; do
  train $schedule MHKD.SCHEDULE $schedule MODEL.TEACHER.WEIGHTS "$OUT/teacher/0_teacher/teacher/model_final.pth" "$@"
done

"$PY" - "$OUT" "$BATCH" "$DEVICE" <<'PYTHON'
import json, os, platform, statistics, sys
from pathlib import Path

import mhkd  # before Detectron2, which it prepares
import torch
from mhkd.evaluation.report import collect
from mhkd.files import write_json

out, batch, device = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rows = {}
for folder in ("teacher", "none_from_teacher", "features_falling", "mhkd"):
    lines = [json.loads(line) for line in (out / folder / "metrics.json").read_text().splitlines()]
    waited, took = ([x[k] for x in lines if k in x] for k in ("data_time", "time"))
    rows[folder] = {
        "steps": collect(out / folder),
        "seconds_of_an_iteration": round(statistics.median(took), 3) if took else None,
        "of_which_waited_for_data": round(statistics.median(waited), 3) if waited else None,
    }
seconds = sum(step["seconds"] for row in rows.values() for step in row["steps"].values())
processor = torch.cuda.get_device_name() if device != "cpu" else platform.processor() or platform.machine()
report = {
    "device": processor, "processors": os.cpu_count(), "torch": torch.__version__, "batch": batch,
    "training_seconds": round(seconds, 1), "rows": rows,
}
write_json(report, out / "full_size.json")
for name, row in rows.items():
    last = list(row["steps"].values())[-1] if name != "teacher" else row["steps"]["teacher_hr"]
    print(f"{name}: AP {last['AP']}, AP50 {last['AP50']}, {row['seconds_of_an_iteration']} s an iteration")
PYTHON
[ $? -eq 0 ] || exit 1
echo "full_size: finished, $OUT/full_size.json"
