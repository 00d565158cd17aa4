#!/bin/sh
# launch: sh launch/slurm-tasks.sh, in params.yaml: a training stage on all GPUs of the job of slurm.sh, a task each.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}" # which srun does not take over by itself
exec srun --kill-on-bad-exit=1 sh -c 'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS \
  MASTER_ADDR=$HEAD MASTER_PORT=29500 exec python "$@"' sh "$@"
