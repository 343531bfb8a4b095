#!/bin/bash
# A Ray cluster inside a SLURM job, and an archive on it. After the time limit, submit it again: the run goes on.
#SBATCH --job-name=archive
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail

SOURCE=/shared/archive
OUT=/shared/names
export OMP_NUM_THREADS=1 RAY_USAGE_STATS_ENABLED=0

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 10000))

# One task a node: the first is the head, the others join it; all end with the job.
srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --kill-on-bad-exit=1 bash -c '
    if [ "$SLURM_PROCID" -eq 0 ]; then
        exec ray start --head --block --node-ip-address="$0" --port="$1" --num-cpus="$SLURM_CPUS_PER_TASK" --include-dashboard=false
    fi
    sleep 15
    exec ray start --block --address="$0:$1" --num-cpus="$SLURM_CPUS_PER_TASK"
' "$address" "$port" &
sleep 45

workers=$((SLURM_JOB_NUM_NODES * SLURM_CPUS_PER_TASK))
vesalius archive run "$SOURCE" --task name --out "$OUT" --ray "$address:$port" --workers "$workers" --timeout 900
