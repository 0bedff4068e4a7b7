# For the job scripts: run_until_done SWEEP.json DIR [options of diffq run], within one job of Slurm, that queues itself
# again when it is told to stop. Whether anything is left is decided by the journal: mpirun's exit status does not survive
# every kind of death.

# Slurm signals the batch script alone (--signal=B:USR2@300): `timeout` passes USR2 on to mpirun, mpirun to all ranks. Every
# run writes a checkpoint and the program returns 75. An mpirun that still waits for a lost host after 4 minutes is killed.
run_until_done() {
  local code=0 told=no started=
  trap 'told=yes; kill -USR2 $started 2>/dev/null' USR1 USR2 TERM
  for ((starts = 1; ; ++starts)); do
    timeout --foreground -s USR2 -k 240 0 "${launch[@]}" "$DIFFQ" run "$1" --out "$2" "${@:3}" &
    started=$!
    [ $told = yes ] && kill -USR2 $started
    # A wait ends early, with nothing ended, when a signal comes.
    while kill -0 $started 2>/dev/null; do wait $started; done
    wait $started
    code=$?
    # 0 all done, 1 some runs failed, 2 wrong input: nothing to start again for.
    case $code in 0 | 1 | 2) return $code ;; esac
    unfinished "$2" || return $code
    if [ $told = yes ]; then
      scontrol requeue "$SLURM_JOB_ID"
      return 75
    fi
    # A run that crashes again and again is given up by the program itself; this is for all else.
    [ $starts -lt 20 ] || return $code
    sleep 5
  done
}

# "sweep s: 12 runs, 10 done, 1 failed, …"
unfinished() {
  "$DIFFQ" status "$1" | awk 'NR == 1 { for (i = 2; i <= NF; ++i) n[$i] = $(i - 1); exit !(n["done,"] + n["failed,"] < n["runs,"]) }'
}
