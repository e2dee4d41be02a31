#!/bin/bash
# pw.x on a bad day: every fifth first attempt is harmed, each time in the next of five ways. Set MLIP_PW to this file.
#   killed     pw.x gets SIGKILL as soon as it has begun
#   lost       so does the worker that waits for it, which then reports nothing
#   truncated  the XML of a calculation that went well is cut off
#   disk       scratch is a file system of 16 kB (root only); pw.x 6.7 says JOB DONE and returns 0, with an empty XML
#   timeout    the time limit is reached in the first iteration
# $LEDGER gets a line for every start and every end: "start TASK ATTEMPT FAULT" and "end TASK ATTEMPT FAULT CODE".
faults=(killed truncated disk timeout lost truncated disk timeout)  # kill -9 is one fault in four, in two forms
task=$(basename "$(dirname "$PWD")"); attempt=$(basename "$PWD"); fault=none; code=0
if [ "$attempt" = attempt-1 ]; then
  number=$(flock "$LEDGER" sh -c 'n=$(($(cat "$LEDGER.count" 2>/dev/null || echo 0) + 1)); echo $n | tee "$LEDGER.count"')
  if [ $((number % 5)) = 1 ]; then fault=${faults[$(((number / 5) % 8))]}; fi
fi
note() { echo "$1 $task $attempt $fault${2:+ $2}" >> "$LEDGER"; }

begin_and_kill() {
  pw.x "$@" & child=$!
  while ! grep -q "Program PWSCF" pw.out && kill -0 $child 2>/dev/null; do sleep 0.01; done
  sleep 0.05
  kill -9 $child 2>/dev/null
}

note start
case $fault in
  killed) begin_and_kill "$@"; kill -9 $$;;
  lost) begin_and_kill "$@"; kill -9 $PPID $$;;
  disk)
    mkdir out && mount -t tmpfs -o size=16k tmpfs out || { note end 99; exit 99; }
    pw.x "$@"; code=$?
    cp -r out left; umount out; cp -r left/. out; rm -r left;;
  timeout) sed -i 's/max_seconds = .*/max_seconds = 0.01/' pw.in; pw.x "$@"; code=$?;;
  *) pw.x "$@"; code=$?;;
esac
if [ $fault = truncated ]; then
  for xml in out/p.xml out/p.save/data-file-schema.xml; do
    if [ -f $xml ]; then truncate -s 3000 $xml; fi
  done
fi
note end $code
exit $code
