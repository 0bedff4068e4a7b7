#!/bin/bash
# A sweep as a job array, where small jobs start sooner than a large one: task i trains part i of the runs (at most 1001
# tasks). From the project's folder:
#
#   sbatch --array 0-7 --ntasks 4 --time 4:00:00 scripts/slurm/sweep_array.sh sweeps/mine.json out/mine [options of run]
#   diffq report out/mine/shard-*        # when they are done
#SBATCH --job-name=diffq
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR2@300
#SBATCH --output=diffq-%A_%a.log
source "${DIFFQ_SLURM:-scripts/slurm}/site.sh"
source "${DIFFQ_SLURM:-scripts/slurm}/run_until_done.sh"
run_until_done "$1" "$2/shard-$SLURM_ARRAY_TASK_ID" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" "${@:3}"
