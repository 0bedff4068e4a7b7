# For the job scripts: run_until_done SWEEP.json DIR [options of diffq run], within one job of Slurm, that queues itself
# again when it is told to stop. Whether anything is left is decided by the journal: mpirun's exit status does not survive
# every kind of death.

# Slurm signals the batch script alone (--signal=B:USR2@300): `timeout` passes USR2 on to mpirun, mpirun to all ranks. Every
# run writes a checkpoint and the program returns 75. An mpirun that still waits for a lost host after 4 minutes is killed.
run_until_done() {
  local code=0 told= starts started=
  trap 'told=${told:-USR2}; kill -USR2 $started 2>/dev/null' USR1 USR2
  # Slurm preempts, requeues (and then starts this job again by itself) or cancels.
  trap 'told=TERM; kill -USR2 $started 2>/dev/null' TERM
  for ((starts = 1; ; ++starts)); do
    timeout --foreground -s USR2 -k 240 0 "${launch[@]}" "$DIFFQ" run "$1" --out "$2" "${@:3}" &
    started=$!
    [ -z "$told" ] || kill -USR2 $started
    # A wait ends early, with nothing ended, when a signal comes.
    while kill -0 $started 2>/dev/null; do wait $started; done
    wait $started
    code=$?
    [ $code -lt 128 ] || sleep 5  # ranks outlive an mpirun that was killed for a moment
    # 2 is wrong input: nothing to start again for. mpirun may return 1 for what was stopped.
    if [ $code -eq 0 ] || [ $code -eq 2 ] || ! unfinished "$2"; then return $code; fi
    case $told in
      USR2) scontrol requeue "$SLURM_JOB_ID"; return 75 ;;
      TERM) return 75 ;;
    esac
    # A run that crashes again and again is given up by the program itself; this is for all else.
    [ $starts -lt 20 ] || return $code
    sleep 5
  done
}

# Told to stop before there is a journal, nothing has begun: mpirun itself ends by a signal that comes so early.
unfinished() {
  if [ -e "$1/journal.jsonl" ]; then "$DIFFQ" status "$1" | grep -q "the same command goes on"; else [ -n "$told" ]; fi
}
