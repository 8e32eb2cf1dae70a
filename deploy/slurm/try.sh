#!/usr/bin/env bash
# Runs job.sbatch on a Slurm of its own on this machine, as its own user, in a folder of its own: two node daemons where this
# build of Slurm takes several on one machine, else one node with two slots. In the middle a worker is killed, one is requeued,
# and an urgent job preempts the others. At the end all jobs must be done, with the bytes of a single process.
#   COPGEN=target/release/copgen deploy/slurm/try.sh [ROWS]
# Needs slurm-wlm and munge (Debian).
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD rows=${1:-200}
copgen=${COPGEN:-target/release/copgen}
# The moment that files are said to be made at: the same for both stores.
export SOURCE_DATE_EPOCH=1767225600
export COPGEN COPGEN_HOME=${COPGEN_HOME:-$root}
COPGEN=$(realpath "$copgen")
work=$(mktemp -d)
started=()
finish() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

# Daemons of our own, with sockets and files in one folder.
mkdir -p "$work/munge" "$work/state" "$work/spool"
chmod 700 "$work" "$work/munge"
head -c 1024 /dev/urandom >"$work/munge/key"
chmod 400 "$work/munge/key"
socket=$work/munge/socket
munged --foreground --force --key-file="$work/munge/key" --socket="$socket" --pid-file="$work/munge/pid" \
    --log-file="$work/munge/log" --seed-file="$work/munge/seed" >/dev/null 2>&1 &
started+=($!)
user=$(id -un) host=$(hostname -s)
write_conf() { # The lines of the nodes.
    cat >"$work/slurm.conf" <<CONF
ClusterName=try
SlurmctldHost=$host
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$socket
CredType=cred/munge
SlurmctldPort=46817
SlurmdPort=46818
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool/%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.%n.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=5
SlurmdTimeout=20
MinJobAge=3600
$1
CONF
}
cores=2
write_conf "NodeName=n0 NodeHostname=$host NodeAddr=127.0.0.1 Port=46818 CPUs=1 State=UNKNOWN
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=46819 CPUs=1 State=UNKNOWN
PartitionName=batch Nodes=n0,n1 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent Nodes=n0,n1 MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF"
export SLURM_CONF=$work/slurm.conf
slurmctld -D >"$work/slurmctld.out" 2>&1 &
started+=($!)
sleep 2
nodes=()
for node in n0 n1; do
    slurmd -D -N "$node" >"$work/$node.out" 2>&1 &
    started+=($!)
    nodes+=($!)
done
ready() { sinfo --noheader --Node --partition=batch --states=idle,mixed,allocated --format=%N 2>/dev/null | sort -u | wc -l; }
for _ in $(seq 30); do [ "$(ready)" -eq 2 ] && break; sleep 1; done
if [ "$(ready)" -eq 2 ]; then
    say "Slurm $(sinfo --version | cut -d' ' -f2) with two node daemons"
else
    say "this build of Slurm has one node daemon per machine: one node with $cores slots"
    for pid in "${nodes[@]}"; do kill "$pid" 2>/dev/null || true; done
    kill "$(cat "$work/slurmctld.pid")"
    sleep 2
    rm -rf "$work"/state/*
    write_conf "NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores State=UNKNOWN
PartitionName=batch Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF"
    slurmctld -D >"$work/slurmctld.out" 2>&1 &
    started+=($!)
    sleep 2
    slurmd -D >"$work/node.out" 2>&1 &
    started+=($!)
    for _ in $(seq 30); do [ "$(ready)" -eq 1 ] && break; sleep 1; done
    [ "$(ready)" -eq 1 ] || { tail "$work"/slurm*.log "$work"/*.out; exit 1; }
fi

python3 deploy/make_plan.py "$rows" "$work/plan.csv"
export PLAN=$work/plan.csv STORE=$work/store COPGEN_OPTIONS="--device cpu"
cd "$work"
id=$(sbatch --parsable --array=0-1 "$root/deploy/slurm/job.sbatch")
say "array $id of two workers for $rows jobs"
made() { find "$STORE/jobs" -mindepth 1 -maxdepth 1 ! -name '.*' 2>/dev/null | wc -l; }
until [ "$(made)" -ge $((rows / 5)) ]; do sleep 0.3; done
victim=$(pgrep -f "$COPGEN batch $PLAN" | head -n 1)
kill -KILL "$victim"
say "killed a worker (process $victim) at $(made) jobs"
until [ "$(made)" -ge $((rows * 2 / 5)) ]; do sleep 0.3; done
scontrol requeue "${id}_1" || true
say "requeued a worker at $(made) jobs"
until [ "$(made)" -ge $((rows * 3 / 5)) ]; do sleep 0.3; done
urgent=$(sbatch --parsable --partition=urgent --ntasks=2 --output=/dev/null --wrap "sleep 5")
say "an urgent job for all slots at $(made) jobs"
for _ in $(seq 60); do
    state=$(squeue --noheader --job "$urgent" --format=%T || true)
    [ "$state" = RUNNING ] && { say "it runs, and the workers wait: $(squeue --noheader --job "$id" --format='%i %T %r' | tr '\n' ';')"; break; }
    sleep 1
done
while squeue --noheader --job "$id" --states=all --format=%T | grep -Eq 'PENDING|RUNNING|COMPLETING|REQUEUED|CONFIGURING'; do sleep 1; done
squeue --job "$id" --states=all --format='%i %T %R'
grep -h -E '^(All|Some|Stopped|Declined)' copgen-*.log || true
"$COPGEN" batch status "$STORE"
say "one process for comparison"
"$COPGEN" batch "$PLAN" --out "$work/one" $COPGEN_OPTIONS >/dev/null

python3 "$root/deploy/same.py" "$work/one" "$STORE"
