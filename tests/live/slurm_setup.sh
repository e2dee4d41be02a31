#!/usr/bin/env bash
# A real Slurm with one node on this machine, for the live tests. Debian, root, no systemd needed; safe to repeat.
# Usage: slurm_setup.sh [CORES]        (CORES may be more than the machine has: the tests only need slots)
set -euo pipefail

cores=${1:-$(nproc)}
host=$(hostname -s)
memory_mb=$(awk '/^MemTotal/ {printf "%d", $2 / 1100}' /proc/meminfo)
packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge)

install_packages() {
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e "$policy" ]; then  # the packages must not start services: there is no systemd here
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    made=1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
  if [ -n "$made" ]; then rm -f "$policy"; fi
}

write_configuration() {
  mkdir -p /etc/slurm /run/slurm /var/log/slurm /var/spool/slurmctld /var/spool/slurmd
  # MinJobAge stays at its default of 300 s: finished jobs leave the queue soon, as on a real cluster without accounting.
  cat <<CONF
ClusterName=mlip-test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
KillWait=5
InactiveLimit=0
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory_mb State=UNKNOWN
SlurmdParameters=config_overrides
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
}

lives() {  # lives PIDFILE NAME
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]
}

ready() { sinfo -h -o %T 2>/dev/null | grep -Eq 'idle|mixed|allocated'; }

install_packages
if [ ! -s /etc/munge/munge.key ]; then
  head -c 1024 /dev/urandom >/etc/munge/munge.key
fi
chown -R munge:munge /etc/munge
chmod 400 /etc/munge/munge.key
install -d -o munge -g munge -m 755 /run/munge /var/lib/munge /var/log/munge
lives /run/munge/munged.pid munged || { rm -f /run/munge/munge.socket.2*; runuser -u munge -- munged; }

mkdir -p /etc/slurm
wanted=$(write_configuration)
if [ "$wanted" != "$(cat /etc/slurm/slurm.conf 2>/dev/null)" ]; then
  printf '%s\n' "$wanted" >/etc/slurm/slurm.conf
  for daemon in slurmd slurmctld; do  # a changed node needs a restart
    if lives "/run/slurm/$daemon.pid" "$daemon"; then kill "$(cat "/run/slurm/$daemon.pid")"; sleep 2; fi
  done
fi
lives /run/slurm/slurmctld.pid slurmctld || slurmctld
lives /run/slurm/slurmd.pid slurmd || slurmd

for attempt in $(seq 120); do
  if ready; then break; fi
  sleep 0.5
  if [ $((attempt % 10)) -eq 0 ]; then scontrol update "nodename=$host" state=resume 2>/dev/null || true; fi
done
ready || { echo "the node did not come up; see /var/log/slurm" >&2; exit 1; }
sinfo
