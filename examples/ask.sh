#!/bin/sh
# Asks a machine's web server again and again: ask.sh NAME [SECONDS]. Reports lost requests and the longest gap between answers.
set -eu
name=${1:?which machine}
seconds=${2:-60}
address=$(kubectl get vm "$name" -o 'jsonpath={.status.interfaces[0].address}')
end=$(($(date +%s) + seconds))
answered=0 lost=0 longest=0
last=$(date +%s%3N)
while [ "$(date +%s)" -lt "$end" ]; do
  if curl -sf -m 5 -o /dev/null "http://$address/"; then
    now=$(date +%s%3N)
    gap=$((now - last))
    [ "$gap" -le "$longest" ] || longest=$gap
    last=$now
    answered=$((answered + 1))
  else
    lost=$((lost + 1))
  fi
  sleep 0.02
done
echo "$name: $answered answered, $lost lost, longest gap $longest ms"
