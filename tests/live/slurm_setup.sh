#!/usr/bin/env bash
# A real Slurm on this machine, for the live tests. Debian, root, no systemd needed; safe to repeat: what lives stays.
# Usage: slurm_setup.sh [CORES [NODES]]   NODES nodes n1, n2, ... (1), each with CORES cores (all of this machine).
#                                         Both may be more than the machine has: the tests only need slots.
#        slurm_setup.sh stop              cancel all jobs and end the daemons
set -euo pipefail

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
  # MinJobAge stays at its default of 300 s: finished jobs leave the queue soon, as on a real cluster without accounting.
  # SlurmdTimeout: a dead node is noticed after 20 s, not after 300.
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
SlurmdSpoolDir=/var/spool/slurmd-%n
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd-%n.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd-%n.log
SlurmdTimeout=20
NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-$((17000 + nodes))] CPUs=$cores RealMemory=$memory_mb State=UNKNOWN
SlurmdParameters=config_overrides
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
}

lives() {  # lives PIDFILE NAME
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]
}

nodes_up() { sinfo -h -N -o '%N %T' 2>/dev/null | grep -Ec ' (idle|mixed|allocated|completing)$' || true; }

end_daemon() {  # end_daemon PIDFILE NAME
  lives "$1" "$2" || return 0
  local pid
  pid=$(cat "$1")
  kill "$pid"
  for _ in $(seq 100); do
    if ! lives "$1" "$2"; then return 0; fi
    sleep 0.2
  done
  kill -9 "$pid"
}

end_all() {
  for file in /run/slurm/slurmd*.pid; do end_daemon "$file" slurmd; done
  end_daemon /run/slurm/slurmctld.pid slurmctld
}

if [ "${1:-}" = stop ]; then
  if lives /run/slurm/slurmctld.pid slurmctld; then
    timeout 60 scancel --full --user=root || true
    for _ in $(seq 60); do
      if [ -z "$(timeout 30 squeue -h -o %i)" ]; then break; fi
      sleep 0.5
    done
  fi
  end_all
  end_daemon /run/munge/munged.pid munged
  exit 0
fi
cores=${1:-$(nproc)}
nodes=${2:-1}

install_packages
if [ ! -s /etc/munge/munge.key ]; then
  head -c 1024 /dev/urandom >/etc/munge/munge.key
fi
chown -R munge:munge /etc/munge
chmod 400 /etc/munge/munge.key
install -d -o munge -g munge -m 755 /run/munge /var/lib/munge /var/log/munge
lives /run/munge/munged.pid munged || { rm -f /run/munge/munge.socket.2*; runuser -u munge -- munged; }

mkdir -p /etc/slurm /run/slurm /var/log/slurm /var/spool/slurmctld
wanted=$(write_configuration)
if [ "$wanted" != "$(cat /etc/slurm/slurm.conf 2>/dev/null)" ]; then
  end_all  # changed nodes need a restart, and jobs of the old ones are nobody's any more
  rm -rf /var/spool/slurmctld/*
  printf '%s\n' "$wanted" >/etc/slurm/slurm.conf
fi
lives /run/slurm/slurmctld.pid slurmctld || slurmctld
for number in $(seq "$nodes"); do
  mkdir -p "/var/spool/slurmd-n$number"
  lives "/run/slurm/slurmd-n$number.pid" slurmd || slurmd -N "n$number"
done

for attempt in $(seq 240); do
  if [ "$(nodes_up)" -eq "$nodes" ]; then break; fi
  sleep 0.5
  if [ $((attempt % 20)) -eq 0 ]; then scontrol update "nodename=n[1-$nodes]" state=resume 2>/dev/null || true; fi
done
[ "$(nodes_up)" -eq "$nodes" ] || { sinfo -N; echo "not all nodes came up; see /var/log/slurm" >&2; exit 1; }
sinfo -N
