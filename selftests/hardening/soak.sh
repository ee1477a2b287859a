#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# soak.sh SECONDS [SEED]: the topology of the tests with eight peers, and soak.py in
# it. Without a seed, one is chosen; it is printed.

# shellcheck source=../lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

# A peer has only its own addresses: AllowedIPs of the prefixes are soak.py's.
allowed_ips()
{
	echo "10.0.0.$1/32,fd00::$1/128,fe80::$1/128"
}

seconds=${1:?SECONDS}
seed=${2:-$SRANDOM}

setup_hub 8 away lan
at_peers=()
for ((i = 1; i <= PEERS; i++)); do
	ns=p$i
	at_peers+=("${!ns}")
	in_peer "$i" ip -batch - <<-END
		route add local 10.16.0.0/12 dev lo
		route add local fd10::/12 dev lo
	END
done

SOAK_KEYS=$(IFS=,; echo "${PRIVATE[*]}")
export SOAK_KEYS SOAK_TMP=$TMP
# shellcheck disable=SC2154 # setup_ns sets it
"$(dirname "$0")/soak.py" "$seconds" "$seed" "$hub" "$away" "$lan" "${at_peers[@]}"
