#!/bin/bash
# A sweep in one allocation: many runs, handed out by the program's own queue. From the project's folder:
#
#   sbatch --nodes 2 --ntasks-per-node 8 --time 12:00:00 scripts/slurm/sweep.sh sweeps/mine.json out/mine [options of run]
#
# It ends when the sweep is done, however often Slurm stops, preempts or requeues it.
#SBATCH --job-name=diffq
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR2@300
#SBATCH --output=diffq-%j.log
source "${DIFFQ_SLURM:-scripts/slurm}/site.sh"
source "${DIFFQ_SLURM:-scripts/slurm}/run_until_done.sh"
run_until_done "$@"
