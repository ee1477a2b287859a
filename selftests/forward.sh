#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The hub forwards from peer to peer, in at its device and out at the same, and tells a
# peer what it can not deliver.

# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

MODE=on

family()
{
	if [[ $1 == 4 ]]; then
		len=32 prefix=10.2.0.0/16 addr=10.2.0.1 prefix2=10.3.0.0/16 addr2=10.3.0.1
		prefix3=10.4.0.0/16 addr3=10.4.0.1 gateway=10.0.0.77
		peer2=10.0.0.2 unreachable="Destination Host Unreachable"
	else
		len=128 prefix=fd02::/48 addr=fd02::1 prefix2=fd03::/48 addr2=fd03::1
		prefix3=fd04::/48 addr3=fd04::1 gateway=fd00::77
		peer2=fd00::2 unreachable="Destination unreachable: Address unreachable"
	fi
}

# check_moved NAME=COUNT...: these counters have, so. Others may: the kernel sends IPv6
# redirects to who could reach the other peer on the link, as it seems.
check_moved()
{
	local counter

	for counter in "$@"; do
		check_eq "${counter%=*}" "${counter#*=}" "$(in_hub wgvia show -j hub |
			jq --argjson before "$COUNTED" --arg name "${counter%=*}" \
				'.[0].counters[$name] - $before[0].counters[$name]')"
	done
}

# The filter asks on the way there and on the way back.
peer_to_peer()
{
	family "$1"
	set_filter "$2"
	check ip -n "$p2" address add "$addr2/$len" dev lo
	check ip -n "$p3" address add "$addr/$len" dev lo
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_ping_from p2 "$addr2" "$addr" p3
	check_moved rx_wgpeer=2
	[[ $1 == 6 ]] || check_moved tx_wgpeer=2
	# Peer 3 may not send what peer 2 may.
	check ip -n "$p2" address del "$addr2/$len" dev lo
	check ip -n "$p3" address add "$addr2/$len" dev lo
	count_from_now
	check_not_answered p3 "$addr2" "$peer2"
	check_moved rx_drop_peer=1 rx_wgpeer=0 tx_onlink=0
	check ip -n "$p3" address del "$addr2/$len" dev lo
	check ip -n "$p3" address del "$addr/$len" dev lo
}

# check_not_answered NAME SRC DST
check_not_answered()
{
	! in_ns "${!1}" ping -n -q -c 1 -W "$SLOW" -I "$2" "$3" >/dev/null 2>&1 ||
		fail "an answer to a ping from $2 in $1 to $3"
}

# check_told DST COUNTER: peer 2 hears that it is not to be reached
check_told()
{
	local out

	count_from_now
	out=$(in_peer 2 ping -n -c 1 -W $((5 * SLOW)) -I "$peer2" "$1" 2>&1)
	[[ $out == *"$unreachable"* ]] || fail "ping $1 says: $out"
	check_moved rx_onlink=1 "$2"=1
}

errors_into_the_tunnel()
{
	family "$1"
	set_filter "$2"
	new_key 9
	check_warns "$W1" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[9]}"
	check_told "$addr" tx_drop_wgpeer
	check ip_hub route add "$prefix3" dev hub
	in_hub wg set hub peer "${KEY[1]}" allowed-ips 10.0.0.1/32,fd00::1/128,fe80::1/128
	check_told "$addr3" tx_drop_onlink
	check ip_hub route add "$prefix2" via "$gateway" dev hub
	check_told "$addr2" tx_drop_gateway
	in_hub wg set hub peer "${KEY[1]}" allowed-ips "$(allowed_ips 1)"
}

for f in 4 6; do
	for filter in device strict; do
		test_add "IPv$f, filter $filter: from peer to peer" peer_to_peer $f $filter
		test_add "IPv$f, filter $filter: a peer is told of errors" errors_into_the_tunnel $f $filter
	done
done

setup_hub 3 lan
set_mode $MODE
in_hub sysctl -qw net.ipv6.conf.hub.force_forwarding=1
tests_run
