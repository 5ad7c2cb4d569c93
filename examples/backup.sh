#!/bin/sh
# A shell script that counts what it does, how long it took, and whether it worked. A backup must not fail because nobody
# measures it: hence `|| true`.
#
#   npx zibrato up --flush 1s
#   sh examples/backup.sh /etc/hostname /tmp/backup
ZIBRATO=${ZIBRATO:-npx zibrato}
export ZIBRATO_SOURCE="${ZIBRATO_SOURCE:-$(hostname)}"

started=$(date +%s)
cp "$1" "$2"
status=$?

# one process for all three: each line is a measurement, as HTTP takes it
{
  echo "{\"type\":\"counter\",\"name\":\"backups\",\"value\":1,\"tags\":{\"failed\":\"$((status != 0))\"}}"
  echo "{\"type\":\"timer\",\"name\":\"backup\",\"value\":$(($(date +%s) - started))}"
  echo "{\"type\":\"gauge\",\"name\":\"backup.bytes\",\"value\":$(wc -c < "$2")}"
} | $ZIBRATO send - || true
exit $status
