#!/bin/bash
# check-commits.sh: checks the subject of every commit since the one that added this script.
#
# A subject has the form "area: imperative": lower-case areas, at most 72 characters, no full stop
# at its end, no semicolon. Merges need no form. In a shallow clone only the commits that are there
# are checked. check-commits.sh --self-test shows what is refused and what passes.
set -euo pipefail
cd "$(dirname "$0")/.."
script=packaging/check-commits.sh

# fault SUBJECT: prints what is wrong with a subject, and nothing if it is good
fault() {
  local subject=$1 words
  local area='[a-z][a-z0-9_./-]*'
  if [ "${#subject}" -gt 72 ]; then
    echo "has ${#subject} characters, at most 72 are allowed"
  elif [[ ! $subject =~ ^$area(,\ $area)*:\ [^\ ] ]]; then
    echo "does not begin with a lower-case area, a colon and a space"
  elif [[ $subject == *. ]]; then
    echo "ends with a full stop"
  elif [[ $subject == *\;* ]]; then
    echo "joins two purposes with a semicolon"
  else
    words=${subject#*: }
    # The imperative cannot be known without a dictionary; these endings and openers are not one.
    if [[ ! $words =~ ^[a-z] ]]; then
      echo "has no lower-case word after the area"
    elif [[ $words =~ ^([a-z]+(ed|ing)|the|a|an|no|not|what|who|where|it|its|some|more|new)\  ]] &&
      [[ ! $words =~ ^(embed|feed|need|seed|shed|speed|bring|ping|string|wed)\  ]]; then
      echo "has no imperative after the area: ${words%% *}"
    fi
  fi
}

self_test() {
  local subject failed=0
  while IFS= read -r subject; do
    [ -n "$(fault "$subject")" ] || { echo "passes, and must not: $subject"; failed=1; }
  done <<'END'
Renew: keep the chain
renew keep the chain
renew: Keep the chain
renew: kept the chain.
renew: keep the chain; add a test
renew: adding a test
renew: added a test
renew: the chain is kept
renew:keep the chain
renew: keep the chain after the leaf, and so on, until the line is too long to read
END
  while IFS= read -r subject; do
    [ -z "$(fault "$subject")" ] || { echo "refused, and must pass: $subject: $(fault "$subject")"; failed=1; }
  done <<'END'
renew: keep the chain after the leaf
docs, src: say directory instead of folder
ci/run: bring the gate under 40 minutes
docs/performance.md: need fewer words
END
  return "$failed"
}

self_test
[ "${1:-}" != --self-test ] || { echo "the examples are judged correctly"; exit 0; }

# The newest commit that added the script: a rebase or a revert moves it.
first=$(git log -1 --diff-filter=A --format=%H -- "$script")
if [ -z "$first" ]; then
  echo "commits: $script is not committed yet"
  exit 0
fi
if [ "$(git rev-parse --is-shallow-repository)" = true ]; then
  echo "commits: this clone is shallow, older commits are not checked"
fi
count=0 bad=0
while IFS=$'\t' read -r hash subject; do
  count=$((count + 1))
  reason=$(fault "$subject")
  if [ -n "$reason" ]; then
    bad=$((bad + 1))
    echo "commits: ${hash:0:12} $reason: $subject"
  fi
done < <(git log --no-merges --format=$'%H\t%s' "$first" --not "$first^@" && git log --no-merges --format=$'%H\t%s' "$first..HEAD")
echo "commits: $count subjects checked, $bad of them wrong"
[ "$bad" -eq 0 ]
