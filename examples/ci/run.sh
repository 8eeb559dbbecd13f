#!/bin/sh
# Runs the steps of the workflows beside this file on generated data, once for each way that a gate can end, and checks
# the exit code and the files of each:
#
#     sh run.sh [FOLDER]      results stay in FOLDER, a temporary one by default
#
# It needs evalkit and python on the PATH.
set -u

here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
wrong=0

check_rules() {
    evalkit gate --check --config gate.yaml
}

evaluate() {
    evalkit evaluate predictions.parquet --label y --score old --score new --slice race --slice sex --out run
}

gate() {
    evalkit gate run --config gate.yaml --baseline old --candidate new --out gate
}

# A first release: the run holds no baseline.
evaluate_first() {
    evalkit evaluate predictions.parquet --label y --score new --slice race --slice sex --out run
}

gate_first() {
    evalkit gate run --config gate.yaml --candidate new --out gate
}

# begin NAME LIKE: an empty folder with rules and a test set.
begin() {
    echo
    echo "== $1"
    mkdir -p "$work/$1" && cd "$work/$1" || exit 4
    cp "$here/gate.yaml" gate.yaml
    python "$here/predictions.py" predictions.parquet --like "$2"
}

# expect CODE STEP: runs a step and compares how it ends.
expect() {
    "$2" >"$2.txt" 2>&1
    code=$?
    cat "$2.txt"
    echo "-> $2: exit code $code"
    if [ "$code" -ne "$1" ]; then
        echo "WRONG: expected $1"
        wrong=1
    fi
}

# files: every form of the verdict was written.
files() {
    for name in verdict.json verdict.md junit.xml gl-code-quality-report.json verdict.sarif; do
        if [ ! -s "gate/$name" ]; then
            echo "WRONG: no gate/$name"
            wrong=1
        fi
    done
}

begin pass pass
expect 0 check_rules
expect 0 evaluate
expect 0 gate
files

begin blocked blocked
expect 0 evaluate
expect 1 gate
files

begin insufficient insufficient
expect 0 evaluate
expect 3 gate
files

begin nothing-evaluated pass
# Only rules that compare, and leave to go without a baseline: nothing is left to evaluate.
sed -e '/name: floor/,$d' -e 's/on_missing_baseline: fail /on_missing_baseline: skip /' "$here/gate.yaml" >gate.yaml
expect 0 evaluate_first
expect 3 gate_first
files

begin wrong-rules pass
sed 's/metric: roc_auc/metric: roc_acu/' "$here/gate.yaml" >gate.yaml
expect 2 check_rules
expect 0 evaluate
expect 2 gate
if [ -e gate ]; then
    echo "WRONG: wrong rules wrote a verdict"
    wrong=1
fi

echo
if [ "$wrong" -eq 0 ]; then
    echo "Every outcome as expected; results are in $work."
fi
exit "$wrong"
