#!/usr/bin/env bash
# Checks the marketplace's Jenkinsfile: its Groovy code with npm-groovy-lint, its declarative structure with
# declarative.groovy, and its calls of docker/deploy.sh. Also tests declarative.groovy: the script inserts each fault that must
# be found into valid.Jenkinsfile. Needs Java 17 and `npm ci` in this directory.
set -euo pipefail
cd "$(dirname "$0")"
jenkinsfile=../../examples/marketplace/Jenkinsfile
deploy=../../docker/deploy.sh
modules=$PWD/node_modules
# npm-groovy-lint needs Node 22
export PATH=$modules/.bin:$PATH

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

failed=0
result() { # NAME EXPECTED ACTUAL
    if [ "$2" = "$3" ]; then
        echo "$1 ... ok"
    else
        failed=$((failed + 1))
        printf '%s ... FAILED\nexpected: %s\nactual:   %s\n' "$1" "$2" "$3"
    fi
}

lint() { FORCE_COLOR=0 npm-groovy-lint --noserver --failon info --config "$PWD/.groovylintrc.json" --path "$1" --files "$2"; }
shape() { java -XX:TieredStopAtLevel=1 -cp "$modules/npm-groovy-lint/lib/java/groovy/lib/*" groovy.ui.GroovyMain declarative.groovy "$@"; }

# The cases: the line of the fault, its text, and the sed command that inserts it into valid.Jenkinsfile.
cases=0
while IFS='|' read -r line fault command; do
    cases=$((cases + 1))
    sed "$command" valid.Jenkinsfile >"$dir/$cases.Jenkinsfile"
    if cmp -s valid.Jenkinsfile "$dir/$cases.Jenkinsfile"; then
        result "case \"$command\" changes the file" yes no
    fi
    echo "$cases.Jenkinsfile|$line: $fault" >>"$dir/expected"
done <<'CASES'
1|the file is not exactly one 'pipeline' block|s/^pipeline/pipelines/
1|the file is not exactly one 'pipeline' block|1s/$/\nprintln 1/
2|'pipeline' has no block|2s/.*/pipeline()/;3,$d
2|'pipeline' has no 'agent'|/agent none/d
2|'pipeline' has no 'stages'|14,57d
2|Unexpected input: '{'|s/none/none)/
3|'agents' is not allowed in 'pipeline'|s/agent none/agents none/
3|'agent' is not any, none or a block|s/agent none/agent all/
3|'agent' is in 'pipeline' more than once|s/agent none/agent any; agent any/
4|'parameters' is empty|5d
5|'strin' is not allowed in 'parameters'|5s/string/strin/
5|'password' is not allowed in 'parameters'|5s/string/password/
5|the parameter has no name|5s/.*/choice(choices: ['a'])/
7|'environment' is empty|8,9d
8|'environment' contains a statement that is not NAME = value|s/COLOR =/COLOR/
8|the value of COLOR is not a string or a call|8s/'blue'/1/
9|'RELEASE' is not a parameter of the pipeline|9s/VERSION/RELEASE/
11|'optoins' is not allowed in 'pipeline'|s/options/optoins/
11|'options' is empty|12d
11|'options' has no block|11,13s/.*/options()/;12,13d
12|'timestamp' is not allowed in 'options'|s/timestamps/timestamp/
12|'options' contains a statement that is not allowed here|12s/.*/int a = 1/
12|'timestamps' is in 'options' more than once|12s/.*/timestamps(); timestamps()/
14|'stages' is empty|15,56d
15|'step' is not allowed in 'stages'|15s/stage/step/
15|the name of the stage is not a string|s/stage('Outer')/stage(outer)/
15|'stage' has no block|15s/{//;16,45d
16|'labels' is not allowed in 'agent'|16s/label/labels/
16|'agent' has more than one kind|16s/ }/; docker 'rust' }/
18|the stage has no agent|16d;17s/^/\n/
18|'stage' needs exactly one of steps, stages and parallel|25,30d
18|'stage' needs exactly one of steps, stages and parallel|24s/$/\nstages { stage('Inner') { steps { echo 'a' } } }/
19|'when' is empty|20,23d
20|'anyof' is not allowed in 'when'|s/anyOf/anyof/
20|'anyOf' is empty|21,22d
20|'anyOf' has no block|20s/{/()/;21,23d
21|'branches' is not allowed in 'anyOf'|s/branch 'main'/branches 'main'/
22|'expression' has no block|22s/.*/expression true/
22|'bat' is an unknown step|22s/sh(/bat(/
25|'step' is not allowed in 'stage'|25s/steps/step/
25|'steps' is empty|26,29d
26|'shh' is an unknown step|26s/sh /shh /
26|'sh' interpolates a value: pass it as an environment variable|26s/sh .*/sh "make ${params.VERSION}"/
26|'sh' interpolates a value: pass it as an environment variable|26s/sh .*/sh 'make ' + params.VERSION/
26|'sh' interpolates a value: pass it as an environment variable|26s/sh .*/sh(script: "make ${params.VERSION}", label: 'a')/
26|'lable' is an unknown argument of 'sh'|26s/sh .*/sh(script: 'make', lable: 'a')/
26|'sh' has no 'script'|26s/sh .*/sh(label: 'a')/
26|'sh' has too many arguments|26s/sh .*/sh 'a', 'b'/
26|'sh' takes no block|26s/sh .*/sh('a') { }/
26|'steps' contains a statement that is not allowed here|26s/.*/if (true) { echo 'a' }/
27|'retry' has no block|27s/{//;28,29d
28|'ehco' is an unknown step|28s/echo/ehco/
32|there is more than one stage 'Build'|s/'Script'/'Build'/
36|'erorr' is an unknown step|36s/error/erorr/
36|'sh' interpolates a value: pass it as an environment variable|36s/error .*/sh "a ${params.VERSION}"/
39|'withCredentials' has no list of credentials|39s/(.*/('token') {/
39|'token' is an unknown credential|39s/string/token/
39|'string' has no 'credentialsId'|39s/credentialsId/id/
39|'string' has no 'variable'|39s/variable/name/
47|'failFast' is not true or false|s/failFast true/failFast maybe/
48|'parallel' is empty|49,54d
49|the stage has no agent|/agent any/d
58|'post' is empty|59,61d
59|'allways' is not allowed in 'post'|s/always/allways/
59|'always' is empty|60d
59|'always' has no block|59s/{/()/;60,61d
60|'mial' is an unknown step|s/mail/mial/
CASES

status=0
shape valid.Jenkinsfile "$jenkinsfile" || status=$?
result "valid pipelines have no faults" 0 "$status"

status=0
files=("$dir"/*.Jenkinsfile)
shape "${files[@]}" >"$dir/faults" || status=$?
result "faults end with code 1" 1 "$status"
while IFS='|' read -r file expected; do
    if grep -qxF "$dir/$file:$expected" "$dir/faults"; then
        echo "fault $expected ... ok"
    else
        result "fault $expected" "$expected" "$(grep -F "$dir/$file:" "$dir/faults")"
    fi
done <"$dir/expected"

status=0
lint "$(dirname "$jenkinsfile")" Jenkinsfile >"$dir/lint" || status=$?
if [ "$status" != 0 ]; then cat "$dir/lint"; fi
result "npm-groovy-lint reports nothing" 0 "$status"
result "npm-groovy-lint reads one file" 1 "$(grep -c "in 1 linted files" "$dir/lint")"

# The choices of the parameter must be the environments that deploy.sh accepts.
choices=$(sed -n "s/.*name: 'ENVIRONMENT', choices: \[\([^]]*\)\].*/\1/p" "$jenkinsfile" | tr -d "' " | tr , '\n' | sort)
environments=$(cd ../../docker/environments && printf '%s\n' *.env | sed 's/\.env$//')
result "the choices are the environments of deploy.sh" "$environments" "$choices"

# If deploy.sh does not accept a command or its number of arguments, it prints its usage.
while read -r -a words; do
    output=$(env -u DEPLOY_SSH_KEY "$deploy" "${words[@]//\"\$ENVIRONMENT\"/staging}" 2>&1) || true
    result "deploy.sh accepts ${words[*]}" 0 "$(grep -c "ENVIRONMENT VERSION" <<<"$output")"
done < <(grep -o 'docker/deploy\.sh [^'\'']*' "$jenkinsfile" | cut -d' ' -f2-)

# Jenkins runs each script with `sh -xe`, which writes the commands and their arguments to the log.
sed -n "/sh '''$/,/'''$/p" "$jenkinsfile" | sed '1d; s/'"'''"'$//' >"$dir/login.sh"
mkdir "$dir/bin"
# shellcheck disable=SC2016 # expanded by the stand-in
printf '#!/bin/sh\necho "docker $* password $(cat)" >"$CALLS"\n' >"$dir/bin/docker"
chmod +x "$dir/bin/docker"
CALLS=$dir/calls PATH=$dir/bin:$PATH IMAGE=registry.test:5000/shop:1 REGISTRY_USER=ci REGISTRY_PASSWORD=hunter2 \
    sh -xe "$dir/login.sh" >"$dir/log" 2>&1
result "the login gets the password" "docker login --username ci --password-stdin registry.test:5000 password hunter2" "$(cat "$dir/calls")"
result "the login keeps the password out of the log" 0 "$(grep -c hunter2 "$dir/log")"

echo "$failed failed"
[ "$failed" -eq 0 ]
