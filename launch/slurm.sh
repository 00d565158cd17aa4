#!/bin/sh
#SBATCH --job-name=diagxnet --nodes=1 --ntasks-per-node=4 --gpus-per-node=4 --cpus-per-task=4
#SBATCH --time=08:00:00 --signal=B:TERM@120 --requeue --open-mode=append
# sbatch launch/slurm.sh [STAGE...], in the project's folder, with its environment active: dvc repro, which is put back
# into the queue two minutes before its time is over and then goes on. docs/scaling.md says what it needs.

HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) # for slurm-tasks.sh
export HEAD
setsid dvc repro "$@" &
run=$!

again() {
  trap '' TERM
  pkill -TERM -s "$run" # to DVC alone it would leave the stage running, without a signal
  wait "$run"
  seconds=0
  while [ "$seconds" -lt 90 ] && pgrep -r D,R,S -s "$run" >/dev/null; do
    sleep 1
    seconds=$((seconds + 1))
  done
  scontrol requeue "$SLURM_JOB_ID"
  exit 143
}
trap again TERM
wait "$run"
