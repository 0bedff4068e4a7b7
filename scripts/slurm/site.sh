# What differs from site to site, read by the job scripts: modules, paths, how ranks are started. Change this file only.
#
#   module load openmpi hdf5
DIFFQ=${DIFFQ:-build/diffq}
# mpirun, or srun where Slurm has PMIx (srun --mpi=list says so).
case "${DIFFQ_LAUNCH:-mpirun}" in
  mpirun) launch=(mpirun -q) ;;
  srun) launch=(srun --mpi=pmix --kill-on-bad-exit=1) ;;
esac
# Seconds that ranks have between SIGTERM and SIGKILL where mpirun itself is terminated: its own 1 s is too short for a
# checkpoint. It also sleeps so long before it ends when a rank returns other than 0, as all do after USR2.
export OMPI_MCA_odls_base_sigkill_timeout=${OMPI_MCA_odls_base_sigkill_timeout:-15}
