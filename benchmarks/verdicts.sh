#!/bin/sh
# Equal code must be called `same` (or `cannot tell` on a noisy machine), code slowed by 15 % must be called `slower`:
# real launches, interleaved. Usage: benchmarks/verdicts.sh [LAUNCHES]; STORE=PATH keeps the records there.
here=$(dirname "$0")
store=${STORE:-$(mktemp -d)/verdicts.sqlite}
export PYTHONPATH="$here/slowed"
harness run --store "$store" -b slowed:a,slowed:b,slowed:slowed -t copy -c lstm -T 50 --steps 200 --fast --launches "${1:-7}" || exit
echo "A against A:"
harness compare --store "$store" --by backend slowed:a slowed:b || exit
echo "A against A slowed by 15 %:"
harness compare --store "$store" --by backend slowed:a slowed:slowed
test $? -eq 4
