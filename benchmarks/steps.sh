# What the scripts beside this one share: `step NAME ARGS` runs a command of fer-bench under its name.
step() {
    printf '\n$ fer-bench %s\n' "$*"
    fer-bench "$@"
}
python -c 'from fer_bench.environment import machine
print(", ".join(f"{name} {value}" for name, value in machine().items()))'
