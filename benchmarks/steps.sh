# What the scripts beside this one share: `step MODULE ARGS` runs a benchmark under its own command.
step() {
    printf '\n$ python -m fer_bench.%s\n' "$*"
    python -m "fer_bench.$@"
}
python -c 'from fer_bench.engines import machine
print(", ".join(f"{name} {value}" for name, value in machine().items()))'
